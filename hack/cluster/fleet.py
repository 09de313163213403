"""A cluster of many nodes that run nothing: the real control plane, the real operator, and kwok."""

import shutil
from typing import Final

from hack.cluster import binaries, control, daemons, kwok, network, operator, pki
from hack.cluster.layout import CONTROL, LOGS, RUN
from hack.cluster.shell import NeedError, run

# The operator makes a pod, a Service and two Events at 20 requests a second by default: 5,000 pods take a quarter of an hour.
_FAST: Final = ("--kube-api-qps=2000", "--kube-api-burst=4000")
_FLAGS: Final = {
    "kube-controller-manager": (
        *_FAST,
        "--node-monitor-grace-period=50s",  # kwok renews leases every ten seconds, and has to share two cores
        # Each pod has a Service of its own, and nobody asks for its address.
        "--controllers=*,-endpoints-controller,-endpointslice-controller,-endpointslice-mirroring-controller",
    ),
    "kube-scheduler": _FAST,
}
_OPERATOR: Final = (*_FAST, "--enable-scheme=pytorchjob", "--controller-threads=8", "--zap-log-level=error")
TAKEN: Final = f"a cluster is up in {RUN}, or was left there (namespace {CONTROL})"


def is_up() -> bool:
    """Whether there is a trace of one."""
    return network.exists() or RUN.exists()


def up(num_nodes: int) -> None:
    """Starts it."""
    if is_up():
        raise NeedError(TAKEN)
    folder = binaries.ensure()
    kwok.ensure()
    LOGS.mkdir(parents=True)
    network.create([])
    pki.create([])
    control.start(folder, more=_FLAGS)
    operator.start(*_OPERATOR)
    kwok.start(num_nodes)


def down() -> None:
    """Ends it, and leaves nothing behind."""
    for name in daemons.names():
        daemons.kill(name)
    if network.exists():
        run("ip", "netns", "del", CONTROL)
    shutil.rmtree(RUN, ignore_errors=True)
