"""A client of the API server for whom seconds are the test's, and a request is a call: nothing waits for a socket."""

from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from types import SimpleNamespace
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from kubernetes.client import ApiClient, Configuration

from ktrain.cluster import Cluster, Kind
from ktrain.cluster.client import SILENCE_SECONDS
from tests.controller.fake_http import Request
from tests.controller.fake_objects import encoded
from tests.controller.fake_watches import Watch
from tests.controller.trace.clock import Clock
from tests.controller.trace.server import Server
from tests.controller.trace.turns import Turns


class Line(ApiClient):
    """The client library, without its sockets."""

    def __init__(self, api: Server, turns: Turns) -> None:
        super().__init__(Configuration())
        self._server, self._turns = api, turns

    def call_api(
        self, method: str, url: str, header_params: Any = None, body: Any = None, post_params: Any = None,
        _request_timeout: Any = None,
    ) -> Any:  # fmt: skip
        """Answers of the server; whoever works is overtaken by the watches meanwhile, now and then."""
        named = {name.lower(): str(value) for name, value in header_params.items()}
        parts = urlsplit(url)
        data = b"" if body is None else encoded(body)
        request = Request(method, unquote(parts.path), dict(parse_qsl(parts.query)), named, data)
        self._be_slow()
        reply = self._server.ask(request)
        self._be_slow()
        return SimpleNamespace(response=reply)

    def _be_slow(self) -> None:
        if not self._turns.is_mine:
            self._turns.go_some()


@dataclass(slots=True, eq=False)
class Wire:
    """An open watch."""

    watch: Watch
    silence: float  # seconds
    heard_at: float


class Wires(Cluster):
    """Whoever moves the clock calls `hang_up` afterwards."""

    def __init__(self, api: Server, turns: Turns, clock: Clock) -> None:
        super().__init__(Line(api, turns), "default", "fake")
        self._server, self._clock = api, clock
        self.open: dict[str, Wire] = {}  # by kind
        self._last: Watch
        self._told: tuple[float, float] | None = None  # the server's clock, and ours

    @property
    def server_time(self) -> float | None:
        """Counts on by the test's clock."""
        return self._told and self._told[0] + self._clock.now - self._told[1]

    def watch(
        self, kind: Kind, namespace: str = "", *, labels: str = "", version: str, seconds: float,
        silence: float = SILENCE_SECONDS,
    ) -> Generator[bytes, None, None]:  # fmt: skip
        """As ever."""
        lines = super().watch(kind, namespace, labels=labels, version=version, seconds=seconds, silence=silence)
        wire = self.open[kind.plural] = Wire(self._last, silence, self._clock.now)
        return self._timed(kind.plural, wire, lines)

    def hang_up(self) -> list[Wire]:
        """On all that have been silent for too long; says which, as they were."""
        silent = [it for it in self.open.values() if self._clock.now >= it.heard_at + it.silence]
        for wire in silent:
            assert wire.watch.is_lost, f"a watch that works was given up after {wire.silence:g} s"
            self._server.cut(wire.watch)
        return silent

    def _timed(self, plural: str, wire: Wire, lines: Generator[bytes, None, None]) -> Generator[bytes, None, None]:
        try:
            with closing(lines):
                for line in lines:
                    wire.heard_at = self._clock.now
                    yield line
        finally:
            del self.open[plural]

    def _split(self, answer: Any) -> Generator[bytes, None, None]:
        self._last = answer.watch
        return super()._split(answer)

    def _look_at_the_clock(self, date: str | None) -> None:
        self._told = (parsedate_to_datetime(date or "").timestamp(), self._clock.now)
