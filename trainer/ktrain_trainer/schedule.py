"""The learning rate in closed form: a function of progress, so nothing of it is stored.

Progress is counted in the unit of the run's duration (steps, samples or tokens), never in a rank's own steps.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from ktrain.errors import SpecError
from ktrain.spec.optim import Schedule
from ktrain.units import Span


def constant(_done: float, _min_ratio: float) -> float:
    """Always the base rate."""
    return 1.0


def cosine(done: float, min_ratio: float) -> float:
    """Half a cosine from 1 down to min_ratio (Loshchilov, Hutter 2017), torch's CosineAnnealingLR in closed form."""
    return min_ratio + (1 - min_ratio) * (1 + math.cos(math.pi * done)) / 2


SHAPES: Final[dict[str, Callable[[float, float], float]]] = {"constant": constant, "cosine": cosine}


@dataclass(frozen=True, slots=True)
class Ramp:
    """A schedule with its lengths in one unit; `total` of the run, `warmup` of it."""

    shape: Callable[[float, float], float]
    warmup: float
    total: float
    min_ratio: float

    def __call__(self, done: float, per_step: float) -> float:
        """The factor of the base rate for a step that begins at `done` and adds `per_step`.

        The warm-up ends at its last step with the full rate: its first step has 1/n of it, not 0.
        """
        if done < self.warmup:
            return min(1.0, (done + per_step) / self.warmup)
        share = (done - self.warmup) / max(self.total - self.warmup, per_step)
        return self.shape(min(1.0, share), self.min_ratio)


def ramp(spec: Schedule, *, total: float, warmup: float) -> Ramp:
    """The schedule of a run that is `total` long; SpecError when the warm-up is longer than the run."""
    if warmup > total:
        raise SpecError(f"spec.trainer.schedule.warmup is {spec.warmup}, longer than the whole run; shorten it")
    return Ramp(SHAPES[spec.name], warmup, total, spec.min_ratio)


def convert(span: Span, unit: str, *, global_batch: int, num_samples: int) -> float:
    """A span in another unit (`step`, `sample` or `tok`); tokens convert to nothing else."""
    if span.unit == "tok" or unit == "tok":
        if span.value and span.unit != unit:
            raise SpecError(f"{span} cannot be told in {unit}: tokens do not convert to samples")
        return float(span.value)
    samples = span.value * {"step": global_batch, "sample": 1, "ep": num_samples}[span.unit]
    return samples / global_batch if unit == "step" else float(samples)
