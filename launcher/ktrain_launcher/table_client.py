"""Node 0's table, asked from another pod."""

import json
import socket
import threading
from collections.abc import Callable
from typing import Any, Final

from ktrain.errors import PeerLostError
from ktrain.voice import Say
from ktrain_launcher import wires
from ktrain_launcher.table_server import GREETING

CONNECT_SECONDS: Final = 2.0
ANSWER_SECONDS: Final = 60.0  # a machine that thrashes may take long; one that is dead is noticed sooner, by wires.py
TRY_SECONDS: Final = 0.25
SAY_EVERY: Final = 30.0

Pause = Callable[[float], bool]
"""Sleeps; whether we are told to stop."""

Note = Callable[[str], object]
"""Takes down what we wait for, a sentence; empty when for nothing."""


class TableClient:
    """One connection; after the first failure every word fails."""

    def __init__(self, connection: socket.socket) -> None:
        """The other end has greeted."""
        self._connection = connection
        self._lock = threading.Lock()
        self._rest = b""
        connection.settimeout(ANSWER_SECONDS)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        wires.guard(connection)

    def get(self, *keys: str) -> list[str | None]:
        found: list[str | None] = self._ask("get", *keys)
        return found

    def put(self, key: str, value: str) -> None:
        self._ask("put", key, value)

    def put_first(self, key: str, value: str) -> str:
        return str(self._ask("put_first", key, value))

    def swap(self, key: str, old: str, new: str) -> str:
        return str(self._ask("swap", key, old, new))

    def add(self, key: str, amount: int) -> int:
        return int(self._ask("add", key, amount))

    def will(self, key: str, value: str) -> None:
        self._ask("will", key, value)

    def close(self) -> None:
        """Later words fail."""
        self._connection.close()

    def _ask(self, *words: str | int) -> Any:
        with self._lock:
            try:
                self._connection.sendall(json.dumps(words).encode() + b"\n")
                return json.loads(self._line())
            except OSError:
                self._connection.close()  # an answer that comes late must not be taken for the next one's
                raise

    def _line(self) -> bytes:
        while b"\n" not in self._rest:
            self._rest += _more(self._connection)
        line, _, self._rest = self._rest.partition(b"\n")
        return line


def connect(host: str, port: int, *, pause: Pause, say: Say, note: Note) -> TableClient | None:
    """Node 0's table, however long it takes to appear; None when we are told to stop. `note` hears what is in the way.

    Raises PeerLostError when somebody else answers there.
    """
    waited = 0.0
    while isinstance(found := _try(host, port), str):
        note(found)
        if waited % SAY_EVERY == 0:
            say("waiting_for_node_0", host=host, port=port, seconds=int(waited), problem=found)
        if pause(TRY_SECONDS):
            return None
        waited += TRY_SECONDS
    note("")
    return found


def _try(host: str, port: int) -> TableClient | str:
    """The table, or a sentence: why node 0 cannot be reached."""
    try:
        connection = socket.create_connection((host, port), timeout=CONNECT_SECONDS)
    except socket.gaierror as error:
        return f"DNS does not know {host} ({error.strerror}): the pod of node 0 is not there, or the cluster's DNS does not work"
    except TimeoutError:
        return f"{host}:{port} does not answer: the node is gone, or a network policy is in the way"
    except OSError as error:
        return f"the launcher of node 0 does not serve {host}:{port} yet ({error.strerror or error})"
    try:
        greeting = _greeting(connection)
    except OSError as error:
        connection.close()
        return f"{host}:{port} was reached, but the launcher of node 0 says nothing ({error.strerror or error})"
    if greeting != GREETING:
        connection.close()
        raise PeerLostError(f"{host}:{port} answers, but not as the launcher of node 0")
    return TableClient(connection)


def _greeting(connection: socket.socket) -> bytes:
    said = b""
    while len(said) < len(GREETING) and not said.endswith(b"\n"):
        said += _more(connection, len(GREETING) - len(said))
    return said


def _more(connection: socket.socket, most: int = 1 << 16) -> bytes:
    data = connection.recv(most)
    if not data:
        raise ConnectionResetError("the connection was closed")
    return data
