"""Torch's TCP stores: hosted here or found elsewhere."""

import socket
from collections.abc import Callable
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from torch.distributed import DistError

from ktrain.errors import PeerLostError, SpecError
from ktrain.voice import Say
from ktrain_launcher import wires

if TYPE_CHECKING:  # the public names are there, but not for type checkers
    from torch._C._distributed_c10d import PrefixStore, TCPStore
else:
    from torch.distributed import PrefixStore, TCPStore

__all__ = ["DistError", "Note", "Pause", "PrefixStore", "TCPStore", "connect_store", "host_store"]

TIMEOUT: Final = timedelta(seconds=60)
CONNECT_SECONDS: Final = 2.0
SAY_EVERY: Final = 30.0
BACKLOG: Final = 4096

Pause = Callable[[float], bool]
"""Sleeps; whether we are told to stop."""

Note = Callable[[str], object]
"""Takes down what we wait for, a sentence; empty when for nothing."""


def host_store(bind: str, port: int) -> TCPStore:
    """A new store that listens here; port 0 takes a free one."""
    listener = _listen(bind, port)
    return TCPStore(
        bind or "localhost",
        listener.getsockname()[1],
        is_master=True,
        wait_for_workers=False,
        timeout=TIMEOUT,
        master_listen_fd=listener.detach(),
    )


def connect_store(host: str, port: int, *, pause: Pause, say: Say, note: Note) -> TCPStore | None:
    """Node 0's store, however long it takes to appear; None when we are told to stop. `note` hears what is in the way."""
    waited = 0.0
    while problem := _problem(host, port):
        note(problem)
        if waited % SAY_EVERY == 0:
            say("waiting_for_node_0", host=host, port=port, seconds=int(waited), problem=problem)
        if pause(0.25):
            return None
        waited += 0.25
    note("")
    try:
        store = TCPStore(host, port, is_master=False, wait_for_workers=False, timeout=TIMEOUT)
    except DistError as error:
        raise PeerLostError(f"{host}:{port} answers, but not as the launcher of node 0") from error
    if not wires.guard(port):
        say("unguarded", host=host, port=port)  # a node that dies is noticed later then
    return store


def _problem(host: str, port: int) -> str:
    """Why node 0 cannot be reached, empty when it can. Asked with a plain socket: torch's own attempt is loud and slow to fail."""
    try:
        with socket.create_connection((host, port), timeout=CONNECT_SECONDS):
            return ""
    except socket.gaierror as error:
        return f"DNS does not know {host} ({error.strerror}): the pod of node 0 is not there, or the cluster's DNS does not work"
    except TimeoutError:
        return f"{host}:{port} does not answer: the node is gone, or a network policy is in the way"
    except OSError as error:
        return f"the launcher of node 0 does not serve {host}:{port} yet ({error.strerror or error})"


def _listen(bind: str, port: int) -> socket.socket:
    try:
        if bind:
            family = socket.AF_INET6 if ":" in bind else socket.AF_INET
            return socket.create_server((bind, port), family=family, backlog=BACKLOG)
        if socket.has_dualstack_ipv6():
            return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG)
        return socket.create_server(("", port), backlog=BACKLOG)
    except OSError as error:
        raise SpecError(
            f"port {port} for the launchers' rendezvous cannot be bound ({error.strerror}); "
            "end the process that has it, or set KTRAIN_RDZV_PORT to a free one"
        ) from error
