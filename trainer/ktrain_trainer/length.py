"""When something is due: the end of the run, the next evaluation, the next checkpoint."""

import math
from dataclasses import dataclass

from ktrain.units import Span
from ktrain_trainer.progress import Progress


@dataclass(frozen=True, slots=True)
class Length:
    """The length of the run in the unit that it is counted in: `step`, `sample` or `tok`."""

    unit: str
    total: float

    @classmethod
    def of(cls, duration: Span, *, num_samples: int) -> "Length":
        """Epochs are counted in samples: the run ends inside a step, with each sample seen equally often."""
        if duration.unit == "ep":
            return cls("sample", math.ceil(duration.value * num_samples))
        return cls(duration.unit, duration.value)

    def done(self, progress: Progress) -> float:
        """How much of `total` is behind us."""
        return {"step": progress.step, "sample": progress.samples, "tok": progress.tokens}[self.unit]

    def is_over(self, progress: Progress) -> bool:
        """Whether nothing is left to train."""
        return self.done(progress) >= self.total

    def end(self, begin: int, global_batch: int) -> int:
        """Where in the stream the step that begins at `begin` ends; `begin` itself when the run is over."""
        return min(begin + global_batch, int(self.total)) if self.unit == "sample" else begin + global_batch

    def steps(self, global_batch: int) -> float:
        """An estimate of the number of steps; 0 when the run is counted in tokens."""
        return {"step": self.total, "sample": math.ceil(self.total / global_batch), "tok": 0}[self.unit]


def passed(every: Span, before: Progress | tuple[int, int, float], now: Progress, *, num_samples: int) -> bool:
    """Whether a multiple of `every` (not a time) lies in the step that led from `before` to `now`."""
    then = (before.step, before.samples, before.tokens) if isinstance(before, Progress) else before
    column = {"step": 0, "sample": 1, "ep": 1, "tok": 2}[every.unit]
    size = every.value * (num_samples if every.unit == "ep" else 1)
    return then[column] // size != (now.step, now.samples, now.tokens)[column] // size
