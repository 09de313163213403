"""A client of the API server for whom seconds are the test's: a connection that has gone silent is noticed without waiting."""

import socket
import threading
from collections.abc import Generator
from contextlib import closing, suppress
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

from ktrain.cluster import Cluster, Kind
from ktrain.cluster.client import SILENCE_SECONDS
from tests.controller.trace.clock import Clock


@dataclass(slots=True, eq=False)
class Wire:
    """An open watch."""

    sock: socket.socket
    port: int  # ours
    silence: float  # seconds
    heard_at: float


class Wires(Cluster):
    """Sockets know no other time than the machine's: whoever moves the clock calls `hang_up` afterwards."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.clock = Clock()  # to be exchanged
        self.open: dict[str, Wire] = {}  # by kind
        self._last = threading.local()
        self._told: tuple[float, float] | None = None  # the server's clock, and ours

    @property
    def server_time(self) -> float | None:
        """Counts on by the test's clock."""
        return self._told and self._told[0] + self.clock.now - self._told[1]

    def watch(
        self, kind: Kind, namespace: str = "", *, labels: str = "", version: str, seconds: float,
        silence: float = SILENCE_SECONDS,
    ) -> Generator[bytes, None, None]:  # fmt: skip
        """As ever."""
        lines = super().watch(kind, namespace, labels=labels, version=version, seconds=seconds, silence=silence)
        sock = self._last.answer.connection.sock
        wire = self.open[kind.plural] = Wire(sock, sock.getsockname()[1], silence, self.clock.now)
        return self._timed(kind.plural, wire, lines)

    def hang_up(self) -> list[Wire]:
        """On all that have been silent for too long; says which."""
        silent = [it for it in tuple(self.open.values()) if self.clock.now >= it.heard_at + it.silence]
        for wire in silent:
            with suppress(OSError):  # it has just ended by itself
                wire.sock.shutdown(socket.SHUT_RDWR)
        return silent

    def _timed(self, plural: str, wire: Wire, lines: Generator[bytes, None, None]) -> Generator[bytes, None, None]:
        try:
            with closing(lines):
                for line in lines:
                    wire.heard_at = self.clock.now
                    yield line
        finally:
            self.open.pop(plural, None)

    def _split(self, answer: Any) -> Generator[bytes, None, None]:
        self._last.answer = answer
        return super()._split(answer)

    def _look_at_the_clock(self, date: str | None) -> None:
        self._told = (parsedate_to_datetime(date or "").timestamp(), self.clock.now)
