"""The folds of a job: each is a job that holds one part back; what they reached together is the estimate."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ktrain.spec.job import MAX_NAME
from ktrain.tune.draw import COLOURS, draw
from ktrain.tune.measure import At, Curve, curve, direction_of
from ktrain.tune.work import Ended, Seen, Work, job_name
from ktrain.units import counted

SECTION: Final = "trainer.data.fold"


@dataclass
class Fold:
    """One fold: its job, and what came of it."""

    index: int
    work: Work
    state: str = "open"
    url: str = ""
    why: str = ""
    curves: dict[str, Curve] = field(default_factory=dict)  # by metric

    def value(self, metric: str, at: At) -> float:
        """NaN where the fold has not come to its end."""
        found = self.curves.get(metric)
        return found.value(at, direction_of(metric)) if found and self.state == "done" else math.nan


@dataclass
class Folds:
    """All folds, one after the other; jobs that are done already end at once, the others go on from their checkpoints."""

    folds: Sequence[Fold]
    tell: Callable[[str], None]
    _started: int = 0

    def next(self) -> Work | None:
        """The next fold; none after a failure: the others would fail alike."""
        if self._started == len(self.folds) or any(fold.state == "failed" for fold in self.folds):
            return None
        self._started += 1
        fold = self.folds[self._started - 1]
        self.tell(f"fold {fold.index + 1} of {len(self.folds)} trains")
        return fold.work

    def seen(self, _work: Work, _seen: Seen) -> bool:
        """A fold is never given up."""
        return False

    def ended(self, work: Work, ended: Ended, seen: Seen) -> None:
        """Remembers how, and what was measured."""
        fold = next(it for it in self.folds if it.work is work)
        fold.state, fold.why, fold.url = ended.how, ended.why, seen.url
        names = {name for it in seen.records.of("eval") for name in it.get("values", {})}
        fold.curves = {name: curve(seen.records, name) for name in sorted(names)}
        self.tell(f"fold {fold.index + 1}: {ended.how}{f': {ended.why}' if ended.why else ''}")

    @property
    def is_done(self) -> bool:
        """Whether all folds came to their end."""
        return all(fold.state == "done" for fold in self.folds)

    @property
    def metrics(self) -> list[str]:
        """Those that all folds which ended have."""
        known = [set(fold.curves) for fold in self.folds if fold.state == "done"]
        return sorted(set.intersection(*known)) if known else []


def make_folds(
    job: str,
    k: int,
    *,
    into: Sequence[str] = (),
    stratify_by: str | None = None,
    group_by: str | None = None,
    fresh: bool = False,
    tell: Callable[[str], None],
) -> Folds:
    """The jobs of all folds. `into`: sections that get k and index where a dataset of the user's own makes its folds."""
    sections = into or (SECTION,)
    common = [] if into else ["trainer.data.val=", "trainer.data.split="]  # what is evaluated is the part held back
    common += [f"{section}.k={k}" for section in sections]
    common += [f"{SECTION}.stratifyBy={stratify_by}"] if stratify_by else []
    common += [f"{SECTION}.groupBy={group_by}"] if group_by else []

    def fold(index: int) -> Fold:
        own = [f"{section}.index={index}" for section in sections]
        return Fold(index, Work(job_name(job, "f", index, MAX_NAME), (*common, *own), fresh))

    return Folds([fold(index) for index in range(k)], tell)


def mean_and_std(values: Sequence[float]) -> tuple[float, float]:
    """Of the folds that came to their end; NaN where there are too few."""
    known = [it for it in values if math.isfinite(it)]
    mean = statistics.fmean(known) if known else math.nan
    return mean, statistics.stdev(known) if len(known) > 1 else math.nan


def table(folds: Folds, at: At) -> tuple[list[str], list[list[str]]]:
    """A row a fold, then mean and standard deviation."""
    metrics = folds.metrics
    values = {metric: [fold.value(metric, at) for fold in folds.folds] for metric in metrics}
    rows = [
        [str(fold.index + 1), fold.state, *(_number(values[metric][number]) for metric in metrics)]
        for number, fold in enumerate(folds.folds)
    ]
    for number, name in enumerate(("mean", "std")):
        rows.append([name, "", *(_number(mean_and_std(values[metric])[number]) for metric in metrics)])
    return ["fold", "state", *metrics], rows


def document(folds: Folds, at: At) -> dict[str, Any]:
    """For `-o json`; what is unknown is null."""
    found = {metric: mean_and_std([fold.value(metric, at) for fold in folds.folds]) for metric in folds.metrics}
    return {
        "folds": [
            {
                "index": fold.index, "job": fold.work.name, "state": fold.state, "run": fold.url, "why": fold.why,
                "values": {metric: _known(fold.value(metric, at)) for metric in folds.metrics},
            }
            for fold in folds.folds
        ],
        "mean": {metric: _known(mean) for metric, (mean, _) in found.items()},
        "std": {metric: _known(std) for metric, (_, std) in found.items()},
    }  # fmt: skip


def picture(path: Path, folds: Folds, metric: str, at: At) -> Path:
    """The curve of each fold on the left, their values with mean and standard deviation on the right."""
    values = [fold.value(metric, at) for fold in folds.folds]
    mean, std = mean_and_std(values)

    def curves(axes: Any) -> None:
        for fold in folds.folds:
            if metric in fold.curves:
                found = fold.curves[metric]
                colour = COLOURS[fold.index % len(COLOURS)]
                axes.plot(
                    found.steps, found.values, marker=".", linewidth=1, color=colour, label=f"fold {fold.index + 1}"
                )
        axes.set(xlabel="step", ylabel=metric)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)

    def bars(axes: Any) -> None:
        for fold, value in zip(folds.folds, values, strict=True):
            axes.scatter([fold.index + 1], [value], color=COLOURS[fold.index % len(COLOURS)], zorder=2)
        if math.isfinite(mean):
            axes.axhline(mean, color="#374151", linewidth=1)
        if math.isfinite(std):
            axes.axhspan(mean - std, mean + std, color="#9ca3af", alpha=0.3, linewidth=0)
        axes.set(xlabel="fold", ylabel=metric, xticks=range(1, len(values) + 1))

    return draw(path, [curves, bars], title=f"{metric} over {counted(len(values), 'fold')}: {mean:.4g} ± {std:.2g}")


def _number(value: float) -> str:
    return f"{value:.5g}" if math.isfinite(value) else ""


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
