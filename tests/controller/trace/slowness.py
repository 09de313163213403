"""Lists that take long, in the test's time."""

from tests.controller.trace.clock import Clock
from tests.controller.trace.turns import Turns


class Slowness:
    """What a page waits for before it is sent."""

    def __init__(self, clock: Clock, turns: Turns) -> None:
        self._clock, self._turns = clock, turns
        self._until: dict[str, float] = {}  # by kind

    def __call__(self, plural: str, seconds: float) -> None:
        """It was made when it was asked for, and comes later; ConnectionError when it was broken off."""
        self._until[plural] = self._clock.now + seconds
        self._turns.wait(lambda: not self.is_on(plural))
        if plural not in self._until:
            raise ConnectionResetError("the server went away")
        del self._until[plural]

    def is_on(self, plural: str) -> bool:
        """Whether one of that kind is on its way."""
        return self._clock.now < self._until.get(plural, float("-inf"))

    def break_off(self) -> None:
        """None of them comes."""
        self._until.clear()
