"""The value that a run reached: a metric of its evaluations."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal

from ktrain.errors import KtrainError
from ktrain.records import Records

Direction = Literal["minimize", "maximize"]
At = Literal["last", "best"]
BETTER: Final[dict[Direction, Callable[[float, float], float]]] = {"minimize": min, "maximize": max}


@dataclass(frozen=True, slots=True)
class Curve:
    """A metric over the steps of a run, what a restart did again counted once."""

    metric: str
    steps: tuple[int, ...]
    values: tuple[float, ...]

    def value(self, at: At, direction: Direction) -> float:
        """Of the last evaluation, or of the best one; NaN when there is none, or none that is finite."""
        finite = [it for it in self.values if math.isfinite(it)]
        if at == "last":
            return self.values[-1] if self.values else math.nan
        best = math.nan
        for it in finite:
            best = it if math.isnan(best) else BETTER[direction](best, it)
        return best


def curve(records: Records, metric: str) -> Curve:
    """All evaluations that have the metric."""
    found = [(it["step"], float(it["values"][metric])) for it in records.of("eval") if metric in it.get("values", {})]
    return Curve(metric, tuple(step for step, _ in found), tuple(value for _, value in found))


def checked(records: Records, metric: str, where: str) -> Curve:
    """The same; KtrainError when nothing was measured, or nothing of this name."""
    found = curve(records, metric)
    if found.values:
        return found
    known = sorted({name for it in records.of("eval") for name in it.get("values", {})})
    if not known:
        raise KtrainError(f"{where} has no evaluation yet; a run with data.val has one at its end")
    raise KtrainError(f"{where} has no metric {metric!r}; it has {', '.join(known)}: name one with --metric")


def direction_of(metric: str) -> Direction:
    """What is better when nobody says it: less of a loss or an error, more of anything else."""
    name = metric.rpartition("/")[2].lower()
    return "minimize" if any(word in name for word in ("loss", "error", "perplexity", "mae", "mse")) else "maximize"
