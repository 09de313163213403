"""The API server of a trace: slow in the test's time, and quick to say what it has."""

from tests.controller.fake_objects import Object
from tests.controller.operator import Ledger
from tests.controller.trace.clock import Clock
from tests.controller.trace.slowness import Slowness


class Server(Ledger):
    """Its documents are read only."""

    def __init__(self, clock: Clock) -> None:
        super().__init__(clock.wall)
        self.slowness = self.rest = Slowness(clock)
        self._read: dict[str, tuple[int, list[Object]]] = {}  # by kind: at which version, and what there was

    def all(self, plural: str) -> list[Object]:
        """As they are."""
        with self.objects.changed:
            version = self.objects.version
            if self._read.get(plural, (0,))[0] != version:
                self._read[plural] = (version, super().all(plural))
            return self._read[plural][1]
