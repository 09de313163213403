"""Time that goes when a test says so."""

import threading

from tests.controller.trace.turns import Turns


class Clock:
    """Its wall can be set, `now` cannot."""

    def __init__(self) -> None:
        self.now = 1_900_000_000.0
        self.skew = 0.0
        self.set_at = self.set_back_at = 0.0  # for the last time
        self._highest = self.now

    def wall(self) -> float:
        """What people read."""
        return self.now + self.skew

    @property
    def is_behind(self) -> bool:
        """Whether it was set back, and what was before is still to come."""
        return self.wall() < self._highest

    def set(self, seconds: float) -> None:
        """The wall: on, or back."""
        self.skew += seconds
        self.set_at = self.now
        self._highest = max(self._highest, self.wall())
        if seconds < 0:
            self.set_back_at = self.now

    def advance(self, seconds: float) -> None:
        """Whoever waits for it has something to do."""
        self.now += seconds
        self._highest = max(self._highest, self.wall())


class Nap:
    """A reflector's rest."""

    def __init__(self, clock: Clock, turns: Turns, stop: threading.Event) -> None:
        self._clock, self._turns, self._stop = clock, turns, stop
        self._until = float("-inf")

    def __call__(self, seconds: float) -> bool:
        """Whether to stop."""
        self._until = self._clock.now + seconds
        self._turns.wait(lambda: self._stop.is_set() or not self.is_on)
        return self._stop.is_set()

    @property
    def is_on(self) -> bool:
        """Whether nothing is to be expected of it now."""
        return self._clock.now < self._until
