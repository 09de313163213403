"""Listeners, and connections that notice when the other end went without a word: a dead node sends no farewell, and a reader would wait for ever."""

import socket
from typing import Final

BACKLOG: Final = 4096  # as many launchers may come at once
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


def listen(bind: str, port: int) -> socket.socket:
    """A listener at this address, everywhere when it is empty; port 0 takes a free one. Raises OSError."""
    if bind:
        family = socket.AF_INET6 if ":" in bind else socket.AF_INET
        return socket.create_server((bind, port), family=family, backlog=BACKLOG)
    if socket.has_dualstack_ipv6():
        return socket.create_server(("", port), family=socket.AF_INET6, dualstack_ipv6=True, backlog=BACKLOG)
    return socket.create_server(("", port), backlog=BACKLOG)


def guard(connection: socket.socket) -> None:
    """Ends the connection when nobody is there any more."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in _OPTIONS.items():
        option = getattr(socket, name, None)
        if option is not None:
            connection.setsockopt(socket.IPPROTO_TCP, option, value)
