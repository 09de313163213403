"""A network with faults, in front of a real S3 server: slow, cut, silent, lying, or gone, at a chosen request.

    with fault_proxy(server.address, rules=(Rule(lost_reply(), role="manifest"),)) as proxy:
        storage = S3Storage("bucket", endpoint=proxy.endpoint)

As a program of its own, for benchmarks: `python -m tests.faultproxy --upstream 127.0.0.1:8333 --rate 80e6 --delay 0.02`.
"""

from tests.faultproxy.roles import ROLES, role_of
from tests.faultproxy.rules import (
    Fault,
    Rule,
    Seen,
    Shape,
    answer,
    black_hole,
    conflict,
    error_after_body,
    expired_token,
    half_close,
    lost_reply,
    reset,
    slow_down,
    stop,
)
from tests.faultproxy.running import RunningProxy, fault_proxy

__all__ = [
    "Fault",
    "Rule",
    "Seen",
    "Shape",
    "answer",
    "black_hole",
    "conflict",
    "error_after_body",
    "expired_token",
    "half_close",
    "lost_reply",
    "reset",
    "slow_down",
    "stop",
    "ROLES",
    "role_of",
    "RunningProxy",
    "fault_proxy",
]
