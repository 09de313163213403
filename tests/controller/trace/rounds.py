"""A scraper without threads: it asks whoever is due when it is told to."""

from random import Random
from typing import Any

from ktrain_controller.scrape import Scraper
from tests.controller.trace.clock import Clock
from tests.controller.trace.queue import Queue


class Rounds(Scraper):
    """In the test's time."""

    def __init__(self, clock: Clock, chance: Random, **given: Any) -> None:
        super().__init__(**given, threads=0, clock=lambda: clock.now, sleep=_never)
        self.queue = self._queue = Queue(lambda: clock.now, chance.random)

    def go(self) -> None:
        """One round."""
        self._work()


def _never(_: float) -> None:
    """Sleeps: the test's time stands still meanwhile."""
