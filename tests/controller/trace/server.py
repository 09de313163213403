"""The API server of a trace: a call is a request. Slow in the test's time, quick to say what it has, each uid by the seed."""

import hashlib
import uuid
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from random import Random

from tests.controller.fake_http import Out, Request
from tests.controller.fake_objects import Object
from tests.controller.fake_watches import Watch, Watches
from tests.controller.operator import Ledger
from tests.controller.trace.clock import Clock
from tests.controller.trace.slowness import Slowness
from tests.controller.trace.turns import Turns


@dataclass(slots=True, eq=False)
class Reply:
    """An answer as the client library hands it on."""

    pull: Callable[[Watch], Generator[bytes, None, None]]
    status: int = 200
    reason: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    data: bytes = b""
    watch: Watch | None = None  # where more is to come

    def whole(self, status: int, body: bytes, **extra: str) -> None:
        self.status, self.reason, self.data = status, HTTPStatus(status).phrase, body
        self.headers |= extra

    def begin(self) -> None:
        raise NotImplementedError

    def part(self, data: bytes) -> None:
        raise NotImplementedError

    def end(self) -> None:
        raise NotImplementedError

    def stream(self, **_: object) -> Generator[bytes, None, None]:
        """Of a watch."""
        assert self.watch
        return self.pull(self.watch)


class Pulled(Watches):
    """Nothing is sent before somebody comes for it."""

    def serve(self, request: Request, out: Out, plural: str, namespace: str) -> bool:
        assert isinstance(out, Reply)
        out.watch = self.begin(request, plural, namespace)
        return True

    def is_due(self, watch: Watch) -> bool:
        """Whether there is something, perhaps its end."""
        can_end = not self._is_silent(watch) and not self._faults.is_holding
        return (can_end and self._now() >= watch.until) or self._is_due(watch)


class Server(Ledger):
    """Its documents are read only."""

    def __init__(self, clock: Clock, turns: Turns, chance: Random) -> None:
        super().__init__(clock.wall)
        self.slowness = self.rest = Slowness(clock, turns)
        self.objects.new_uid = lambda: str(uuid.UUID(int=chance.getrandbits(128), version=4))
        self._turns = turns
        self._watches = self._pulled = Pulled(self.objects, self.faults, lambda: clock.now)
        self._read: dict[str, tuple[int, list[Object]]] = {}  # by kind: at which version, and what there was

    def ask(self, request: Request) -> Reply:
        """ConnectionError when the server goes away meanwhile."""
        reply = Reply(self._parts)
        self._serve(request, reply)
        reply.headers["Date"] = formatdate(self.clock(), usegmt=True)
        return reply

    @property
    def digest(self) -> str:
        """Of all that it was asked, and by that of all that it said: two that are equal had the same trace."""
        asked = ((it.method, it.path, sorted(it.query.items()), it.body) for it in self.requests)
        return hashlib.sha256(repr(list(asked)).encode()).hexdigest()

    def cut(self, watch: Watch) -> None:
        """Its client has waited for too long."""
        watch.is_lost, watch.end = False, "abrupt"

    def restart(self) -> None:
        """All connections break; nothing is forgotten."""
        self.speak()
        self.slowness.break_off()

    def all(self, plural: str) -> list[Object]:
        """As they are."""
        version = self.objects.version
        if self._read.get(plural, (0,))[0] != version:
            self._read[plural] = (version, super().all(plural))
        return self._read[plural][1]

    def _parts(self, watch: Watch) -> Generator[bytes, None, None]:
        """Line by line: others have their turns in between. ConnectionError when it breaks off."""
        try:
            while not watch.end:
                self._turns.wait(lambda: self._pulled.is_due(watch))
                for line in self._pulled.next(watch):
                    yield line
                    self._turns.give_way()
        finally:
            self._pulled.leave(watch)
        if watch.end == "abrupt":
            raise ConnectionResetError("the connection broke")
