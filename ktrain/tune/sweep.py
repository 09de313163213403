"""A sweep of learning rates: the smoothed loss, where it breaks away, where it falls most steeply. Pure."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

SMOOTH: Final = 0.8
DIVERGED: Final = 4.0  # times the least smoothed loss so far
WARM: Final = 5  # steps before anything is judged: the first losses are noise


@dataclass(frozen=True, slots=True)
class Point:
    """One step of the sweep."""

    lr: float
    loss: float
    smoothed: float


@dataclass(frozen=True, slots=True)
class Sweep:
    """All points up to the one where it broke away; `suggestion` is the rate of the steepest fall, None without a fall."""

    points: tuple[Point, ...]
    diverged_at: float | None  # learning rate
    suggestion: float | None


class Smooth:
    """An exponential mean whose beginning is not biased towards 0 (as Adam corrects its own)."""

    def __init__(self, factor: float = SMOOTH) -> None:
        self.factor = factor
        self._sum, self._count = 0.0, 0

    def __call__(self, value: float) -> float:
        """The mean with this value in it."""
        self._count += 1
        self._sum = self.factor * self._sum + (1 - self.factor) * value
        return self._sum / (1 - self.factor**self._count)


class Watch:
    """Whether the loss has broken away: not finite, or far above the least so far."""

    def __init__(self, factor: float = SMOOTH) -> None:
        self._smooth, self._least, self._seen = Smooth(factor), math.inf, 0

    def __call__(self, loss: float) -> tuple[float, bool]:
        """The smoothed loss with this one in it, and whether to stop."""
        self._seen += 1
        smoothed = self._smooth(loss)
        if not math.isfinite(smoothed):
            return smoothed, True
        has_broken_away = self._seen > WARM and self._least > 0 and smoothed > DIVERGED * self._least
        self._least = min(self._least, smoothed)
        return smoothed, has_broken_away


def analyse(steps: Iterable[Mapping[str, Any]], *, smooth: float = SMOOTH, failed_at: float | None = None) -> Sweep:
    """From the records of the steps; `failed_at`: the rate at which the run itself gave up, its loss not finite."""
    watch, points, diverged = Watch(smooth), list[Point](), failed_at
    for it in steps:
        lr, loss = it.get("lr"), it.get("loss")
        if lr is None:
            continue
        loss = math.inf if loss is None else float(loss)
        smoothed, is_over = watch(loss)
        if is_over:
            diverged = lr
            break
        points.append(Point(lr, loss, smoothed))
    return Sweep(tuple(points), diverged, steepest(points, smooth))


def steepest(points: Sequence[Point], smooth: float = SMOOTH) -> float | None:
    """The rate at which the loss falls most over the logarithm of the rate, before its least value.

    Smoothed from both sides: an exponential mean lags behind, and would suggest a rate that is too large.
    """
    least = min(range(len(points)), key=lambda n: points[n].smoothed, default=0)
    there, back = Smooth(smooth), Smooth(smooth)
    forward = [there(it.loss) for it in points[: least + 1]]
    backward = [back(it.loss) for it in reversed(points[: least + 1])][::-1]
    both = [(before + after) / 2 for before, after in zip(forward, backward, strict=True)]
    logs = [math.log(it.lr) for it in points]
    slopes = {n: (both[n + 1] - both[n - 1]) / (logs[n + 1] - logs[n - 1]) for n in range(WARM, least)}
    falling = {n: slope for n, slope in slopes.items() if slope < 0}
    return points[min(falling, key=lambda n: falling[n])].lr if falling else None


def gamma(begin: float, end: float, steps: int) -> float:
    """Factor from one step to the next, so that the first has `begin` and the last has `end`."""
    return float((end / begin) ** (1 / (steps - 1)))
