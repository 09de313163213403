"""Lists that take long, in the test's time."""

from tests.controller.trace.clock import Clock


class Slowness:
    """What a page waits for before it is sent."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._until: dict[str, float] = {}  # by kind

    def __call__(self, plural: str, seconds: float) -> None:
        """It was made when it was asked for, and comes later."""
        with self._clock.changed:
            self._until[plural] = self._clock.now + seconds
            self._clock.changed.wait_for(lambda: not self.is_on(plural))

    def is_on(self, plural: str) -> bool:
        """Whether one of that kind is on its way."""
        return self._clock.now < self._until.get(plural, float("-inf"))

    def end(self) -> None:
        """All come now."""
        with self._clock.changed:
            self._until.clear()
            self._clock.changed.notify_all()
