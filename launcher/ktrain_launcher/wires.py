"""Connections that notice when the other end went without a word: a dead node sends no farewell, and a reader would wait for ever."""

import os
import socket
import stat
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Final

IDLE_SECONDS: Final = 5  # before the first question whether the other end is there
EVERY_SECONDS: Final = 5
TIMES: Final = 3
SILENT_SECONDS: Final = IDLE_SECONDS + TIMES * EVERY_SECONDS  # also for what was sent and is not acknowledged

_OPTIONS: Final = {
    "TCP_KEEPIDLE": IDLE_SECONDS,
    "TCP_KEEPALIVE": IDLE_SECONDS,  # macOS's name of it
    "TCP_KEEPINTVL": EVERY_SECONDS,
    "TCP_KEEPCNT": TIMES,
    "TCP_USER_TIMEOUT": SILENT_SECONDS * 1000,
}


def guard(port: int) -> int:
    """Sets this process's connections to that port to end when nobody is there; how many there were.

    torch's stores hide their sockets; an option that is set through a duplicate is set for both.
    """
    return sum(_set(made) for made in _sockets() if _peer(made) == port)


def _sockets() -> Iterator[socket.socket]:
    for number in [int(path.name) for path in Path("/dev/fd").iterdir()]:
        with suppress(OSError):  # it is gone by now
            if stat.S_ISSOCK(os.fstat(number).st_mode):
                with socket.socket(fileno=os.dup(number)) as made:
                    yield made


def _peer(made: socket.socket) -> int | None:
    try:
        return int(made.getpeername()[1])
    except (OSError, IndexError, ValueError):  # not connected, or of another family
        return None


def _set(made: socket.socket) -> bool:
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _OPTIONS.items():
        option = getattr(socket, name, None)
        if option is not None:
            made.setsockopt(socket.IPPROTO_TCP, option, value)
    return True
