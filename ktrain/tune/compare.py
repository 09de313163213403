"""Is B better than A, or was it chance: paired tests and an interval, and what they cannot say."""

import math
import statistics
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

from ktrain.tune.extra import need

RESAMPLES: Final = 9999
LEVEL: Final = 0.95


@dataclass(frozen=True, slots=True)
class Tested:
    """A test's statistic and its two-sided p; both None where it says nothing."""

    statistic: float | None = None
    p: float | None = None


@dataclass(frozen=True, slots=True)
class Comparison:
    """B against A over pairs; `difference` is B minus A."""

    pairs: int
    mean_a: float
    mean_b: float
    std_a: float | None
    std_b: float | None
    difference: float
    interval: tuple[float, float] | None = None  # of the mean difference, by bootstrap
    t: Tested = field(default_factory=Tested)
    wilcoxon: Tested = field(default_factory=Tested)
    notes: tuple[str, ...] = ()

    def document(self) -> dict[str, Any]:
        """For `-o json`."""
        return asdict(self)


def compare(a: Sequence[float], b: Sequence[float], *, seed: int = 0) -> Comparison:
    """Values at the same place belong together; all are finite, and there is at least one pair."""
    differences = [right - left for left, right in zip(a, b, strict=True)]
    told = Comparison(
        len(differences), statistics.fmean(a), statistics.fmean(b), _std(a), _std(b), statistics.fmean(differences)
    )
    if len(differences) < 2:
        return replace(told, notes=("a test needs at least two pairs; train more seeds or folds of both",))
    if not any(differences):
        return replace(told, interval=(0.0, 0.0), notes=("all pairs are equal: there is nothing to test",))
    t, same = _t_test(a, b, differences)
    return replace(
        told, interval=_interval(differences, seed), t=t, wilcoxon=_wilcoxon(differences),
        notes=(*same, *_about_ties(differences), *_about_few(differences)),
    )  # fmt: skip


def _std(values: Sequence[float]) -> float | None:
    return statistics.stdev(values) if len(values) > 1 else None


def _t_test(a: Sequence[float], b: Sequence[float], differences: Sequence[float]) -> tuple[Tested, tuple[str, ...]]:
    spread, scale = statistics.stdev(differences), max(abs(it) for it in differences)
    if spread <= 1e-12 * scale:  # by rounding alone t would be a number between 1e12 and infinity
        return Tested(), ("all differences are the same: the t-test needs some spread",)
    found = need("scipy.stats").ttest_rel(b, a)
    return Tested(float(found.statistic), float(found.pvalue)), ()


def _wilcoxon(differences: Sequence[float]) -> Tested:
    with warnings.catch_warnings():
        # scipy says that few pairs make its approximation rough; the notes say it in our words.
        warnings.simplefilter("ignore", UserWarning)
        found = need("scipy.stats").wilcoxon(differences)
    return Tested(float(found.statistic), float(found.pvalue)) if math.isfinite(found.pvalue) else Tested()


def _interval(differences: Sequence[float], seed: int) -> tuple[float, float]:
    found = need("scipy.stats").bootstrap(
        (differences,), lambda it, axis: it.mean(axis=axis), confidence_level=LEVEL, n_resamples=RESAMPLES,
        method="percentile", rng=seed,
    ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)


def _about_ties(differences: Sequence[float]) -> list[str]:
    zeros = sum(it == 0 for it in differences)
    sizes = [abs(it) for it in differences if it]
    notes = [f"{zeros} of {len(differences)} pairs are equal: Wilcoxon leaves them out"] if zeros else []
    if len(set(sizes)) < len(sizes):
        notes.append("some differences are equally large: Wilcoxon's p is an approximation")
    return notes


def _about_few(differences: Sequence[float]) -> list[str]:
    used = sum(it != 0 for it in differences)
    least = 2.0 ** (1 - used)
    if least > 1 - LEVEL:
        return [f"with {used} pairs that differ, Wilcoxon's p is never below {least:.2g}"]
    return []
