"""When something is due that is to be done again and again, whichever of several intervals comes first."""

import time
from collections.abc import Sequence

from ktrain.units import Span
from ktrain_trainer.length import passed
from ktrain_trainer.progress import Progress


class Every:
    """By progress all ranks know for themselves; by time rank 0's clock decides, and the others must be told."""

    def __init__(self, spans: Sequence[Span]) -> None:
        self._spans = [span for span in spans if span.unit != "s"]
        self._seconds = min((span.value for span in spans if span.unit == "s"), default=float("inf"))
        self.begin()

    def begin(self) -> None:
        """It is being done; the time counts from here."""
        self._begun = time.monotonic()

    def is_due(self, before: tuple[int, int, float], progress: Progress, num_samples: int) -> bool:
        """By steps, samples, tokens or epochs, between `before` and now."""
        return any(passed(span, before, progress, num_samples=num_samples) for span in self._spans)

    def is_due_by_clock(self) -> bool:
        """By this process's clock."""
        return time.monotonic() - self._begun >= self._seconds
