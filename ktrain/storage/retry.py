"""Trying again under one deadline, with pauses that grow and that no two clients share."""

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Retry:
    """How long to go on, and how to pause in between."""

    deadline_seconds: float = 120.0
    base_seconds: float = 0.1
    cap_seconds: float = 10.0
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], float] = time.monotonic
    jitter: Callable[[], float] = random.random  # spreads clients, decides nothing

    def pauses(self) -> Iterator[float]:
        """The pause before each further try; ends when the deadline would pass."""
        end = self.now() + self.deadline_seconds
        longest = self.base_seconds
        while True:
            pause = longest * self.jitter()
            if self.now() + pause >= end:
                return
            yield pause
            longest = min(longest * 2, self.cap_seconds)
