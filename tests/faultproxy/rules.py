"""Which requests meet which fault: frozen data, the same in a test and on the command line."""

import re
from dataclasses import dataclass
from typing import Literal

Kind = Literal["answer", "reset", "close", "half close", "black hole", "delay", "stop"]
Moment = Literal["head", "body", "reply"]


@dataclass(frozen=True, slots=True)
class Fault:
    """What happens to one request, and when.

    At `head` nothing has reached the server; at `body` the request was read and is not passed on (a reset passes on
    `after_bytes` of it first); at `reply` the server has applied it and its reply was read.
    """

    kind: Kind
    at: Moment = "head"
    status: int = 0
    code: str = ""
    after_bytes: int = 0  # of the body that is on its way: the request's at `body`, the reply's at `reply`
    seconds: float | None = None  # how long a delay or a black hole lasts; None: until the client goes away


@dataclass(frozen=True, slots=True)
class Rule:
    """A fault for `times` requests (None: all) after the first `skip` of those that match, or for each `every`-th of them."""

    fault: Fault
    method: str = ""  # empty: any
    role: str = ""
    key: str = ""  # a regular expression, searched in bucket/key
    skip: int = 0
    times: int | None = 1
    every: int = 1

    def matches(self, method: str, role: str, key: str) -> bool:
        """Whether it is about this request, before counting."""
        return self.method in {"", method} and self.role in {"", role} and re.search(self.key, key) is not None

    def takes(self, nth: int) -> bool:
        """Whether the nth request that matches, from 0, meets the fault."""
        number, rest = divmod(nth - self.skip, self.every)
        return number >= 0 and rest == 0 and (self.times is None or number < self.times)


@dataclass(frozen=True, slots=True)
class Shape:
    """A link: for each connection and direction so many bytes in a second, and a wait before each reply."""

    bytes_per_second: float | None = None
    first_byte_seconds: float = 0.0
    burst_bytes: int = 512 << 10  # also what a late timer is forgiven


@dataclass(frozen=True, slots=True)
class Seen:
    """One request that went by."""

    number: int  # in order of arrival
    method: str
    role: str
    key: str
    query: str
    status: int  # the reply's as the client saw it, 0 when it saw none
    bytes_in: int = 0  # of the request's body
    bytes_out: int = 0  # of the reply's body
    fault: str = ""
    server_status: int = 0  # what the server itself said, 0 when it was not asked or not heard


def answer(status: int, code: str, at: Moment = "head") -> Fault:
    """An error reply in S3's XML."""
    return Fault("answer", at, status, code)


def slow_down(at: Moment = "head") -> Fault:
    """What an overloaded bucket says."""
    return answer(503, "SlowDown", at)


def error_after_body(at: Moment = "body") -> Fault:
    """The whole body was taken, for nothing."""
    return answer(500, "InternalError", at)


def conflict(at: Moment = "head") -> Fault:
    """Two conditional writes at the same moment."""
    return answer(409, "ConditionalRequestConflict", at)


def expired_token() -> Fault:
    """The credentials were good until now."""
    return answer(403, "ExpiredToken")


def lost_reply() -> Fault:
    """Applied, and the connection is dropped instead of a reply."""
    return Fault("close", "reply")


def reset(at: Moment = "head", after_bytes: int = 0) -> Fault:
    """RST, also in the middle of a body."""
    return Fault("reset", at, after_bytes=after_bytes)


def half_close(after_bytes: int = 0) -> Fault:
    """The reply ends too soon, and the connection still takes requests."""
    return Fault("half close", "reply", after_bytes=after_bytes)


def black_hole(seconds: float | None = None, at: Moment = "head") -> Fault:
    """Taken and never answered; after `seconds` the connection is reset, as a router forgets it."""
    return Fault("black hole", at, seconds=seconds)


def stop(at: Moment = "head") -> Fault:
    """Whoever is behind this proxy ceases to exist here: nothing passes any more, on any connection."""
    return Fault("stop", at)
