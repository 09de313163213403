"""The learning rate in closed form: a function of progress, so nothing of it is stored.

Progress is counted in the unit of the run's duration (steps, samples or tokens), never in a rank's own steps. All curves
give a factor of the base rate; `done` is where a step begins, `per_step` what it adds.
"""

import math
from bisect import bisect_right
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from ktrain.errors import SpecError
from ktrain.spec.schedule import Schedule
from ktrain.units import Span

Curve = Callable[[float, float], float]
"""From done and per_step to the factor."""

FALLS: Final[Mapping[str, Callable[[float], float]]] = {
    "linear": lambda share: 1 - share,
    "cosine": lambda share: (1 + math.cos(math.pi * share)) / 2,
    "sqrt": lambda share: 1 - math.sqrt(share),  # Hägele and others 2024, for wsd
}
"""From 1 down to 0."""


@dataclass(frozen=True, slots=True)
class Terms:
    """A schedule with its lengths in the run's unit."""

    spec: Schedule
    total: float
    warmup: float = 0.0
    period: float = 0.0
    every: float = 0.0
    cooldown: float = 0.0
    milestones: tuple[float, ...] = ()

    def after_warmup(self, done: float, per_step: float) -> float:
        """Which share of what follows the warm-up is done."""
        return min(1.0, (done - self.warmup) / max(self.total - self.warmup, per_step))

    def above_floor(self, factor: float) -> float:
        """The floor, and above it the share that is left."""
        return self.spec.min_ratio + (1 - self.spec.min_ratio) * factor

    @property
    def gamma(self) -> float:
        """Factor of a fall."""
        return 0.1 if self.spec.gamma is None else self.spec.gamma


@dataclass(frozen=True, slots=True)
class Ramp:
    """A linear rise, then a curve."""

    warmup: float
    curve: Curve

    def __call__(self, done: float, per_step: float) -> float:
        """The warm-up ends at its last step with the full rate: its first step has 1/n of it, not 0."""
        if done < self.warmup:
            return min(1.0, (done + per_step) / self.warmup)
        return self.curve(done, per_step)


def constant(_terms: Terms) -> Curve:
    """Always the base rate."""
    return lambda _done, _per_step: 1.0


def falling(fall: Callable[[float], float]) -> Callable[[Terms], Curve]:
    """From the warm-up's end down to the floor at the run's end."""
    return lambda it: lambda done, per_step: it.above_floor(fall(it.after_warmup(done, per_step)))


def polynomial(it: Terms) -> Curve:
    """A power of the share that is left: torch's PolynomialLR."""
    power = it.spec.power or 1.0
    return falling(lambda share: (1 - share) ** power)(it)


def cosine_restarts(it: Terms) -> Curve:
    """Cosines in a row (SGDR, Loshchilov and Hutter 2017): torch's CosineAnnealingWarmRestarts, each with a warm-up and a lower peak."""
    floor, decay = it.spec.min_ratio, it.spec.decay or 1.0

    def curve(done: float, per_step: float) -> float:
        number, inside, length = cycle(done, it.period, it.spec.mult or 1.0)
        peak = max(floor, decay**number)
        if inside < it.warmup:
            return max(floor, peak * min(1.0, (inside + per_step) / it.warmup))
        return floor + (peak - floor) * FALLS["cosine"]((inside - it.warmup) / (length - it.warmup))

    return curve


def step(it: Terms) -> Curve:
    """Down by gamma at each multiple of `every` after the warm-up: torch's StepLR."""
    return lambda done, _per_step: max(it.spec.min_ratio, it.gamma ** ((done - it.warmup) // it.every))


def multistep(it: Terms) -> Curve:
    """Down by gamma at each milestone of the run: torch's MultiStepLR."""
    return lambda done, _per_step: max(it.spec.min_ratio, it.gamma ** bisect_right(it.milestones, done))


def exponential(it: Terms) -> Curve:
    """Down by gamma over each `every` after the warm-up, without stairs: torch's ExponentialLR."""
    return lambda done, _per_step: max(it.spec.min_ratio, it.gamma ** ((done - it.warmup) / it.every))


def inverse_sqrt(it: Terms) -> Curve:
    """1/√progress, which is 1 at the warm-up's end (Vaswani and others 2017)."""
    return lambda done, _per_step: max(it.spec.min_ratio, math.sqrt(it.warmup / done))


def wsd(it: Terms) -> Curve:
    """Warm-up, stable, decay: the full rate until the last `cooldown` of the run."""
    fall, begin = FALLS[it.spec.shape or "linear"], it.total - it.cooldown
    return lambda done, _per_step: it.above_floor(fall(min(1.0, max(0.0, done - begin) / it.cooldown)))


def onecycle(it: Terms) -> Curve:
    """Up to the base rate, then down to nearly nothing (Smith 2018): torch's OneCycleLR, the learning rate of it."""
    fall = FALLS[it.spec.shape or "cosine"]
    first = 1 / (it.spec.div_factor or 25.0)
    last = first / (it.spec.final_div_factor or 1e4)
    rise = it.spec.rise or 0.3

    def curve(done: float, per_step: float) -> float:
        top, end = rise * it.total - per_step, it.total - per_step
        if done <= top:
            return first + (1 - first) * (1 - fall(done / top if top > 0 else 1.0))
        return last + (1 - last) * fall(min(1.0, (done - top) / (end - top)))

    return curve


CURVES: Final[Mapping[str, Callable[[Terms], Curve]]] = {
    "constant": constant,
    "linear": falling(FALLS["linear"]),
    "cosine": falling(FALLS["cosine"]),
    "cosine_restarts": cosine_restarts,
    "step": step,
    "multistep": multistep,
    "exponential": exponential,
    "polynomial": polynomial,
    "inverse_sqrt": inverse_sqrt,
    "wsd": wsd,
    "onecycle": onecycle,
    "plateau": constant,  # its falls are not foreseen: ktrain_trainer.plateau
}


def ramp(spec: Schedule, *, total: float, to_unit: Callable[[Span], float]) -> Ramp:
    """The schedule of a run that is `total` long; SpecError when its parts are longer than what they are part of."""
    terms = Terms(
        spec,
        total,
        to_unit(spec.warmup),
        to_unit(spec.period) if spec.period else 0.0,
        to_unit(spec.every) if spec.every else 0.0,
        to_unit(spec.cooldown) if spec.cooldown else 0.0,
        tuple(to_unit(span) for span in spec.milestones or ()),
    )
    _check(terms)
    return Ramp(0.0 if terms.period else terms.warmup, CURVES[spec.name](terms))


def cycle(done: float, period: float, mult: float) -> tuple[int, float, float]:
    """Number of the cycle, how far into it, and its length."""
    if mult == 1:
        number = int(done // period)
        return number, done - number * period, period
    number, length = 0, period
    while done >= length:
        done, length, number = done - length, length * mult, number + 1
    return number, done, length


def convert(span: Span, unit: str, *, global_batch: int, num_samples: int) -> float:
    """A span in another unit (`step`, `sample` or `tok`); tokens convert to nothing else."""
    if span.unit == "tok" or unit == "tok":
        if span.value and span.unit != unit:
            raise SpecError(f"{span} cannot be told in {unit}: tokens do not convert to samples")
        return float(span.value)
    samples = span.value * {"step": global_batch, "sample": 1, "ep": num_samples}[span.unit]
    return samples / global_batch if unit == "step" else float(samples)


def _check(it: Terms) -> None:
    where, spec = "spec.trainer.schedule", it.spec
    if it.warmup > it.total:
        raise SpecError(f"{where}.warmup is {spec.warmup}, longer than the whole run; shorten it")
    if it.period and it.warmup >= it.period:
        raise SpecError(f"{where}.warmup is {spec.warmup}, but a cycle lasts {spec.period}; shorten the warm-up")
    if it.warmup + it.cooldown > it.total:
        raise SpecError(
            f"{where}: a warm-up of {spec.warmup} and a cooldown of {spec.cooldown} are longer than the whole run; shorten one"
        )
