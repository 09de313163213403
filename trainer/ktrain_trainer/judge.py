"""Whether an evaluation is among the best so far, and whether the run should stop early. Pure but for the progress."""

from collections.abc import Iterable, Mapping

from ktrain.errors import SpecError
from ktrain.spec.evaluation import Best, EarlyStop
from ktrain_trainer.progress import Progress


def is_among_best(best: Best, progress: Progress, values: Mapping[str, float]) -> bool:
    """Whether this evaluation is one of the `keep` best; remembers it."""
    value = values[best.monitor]
    top = [*progress.top, value]
    top.sort(reverse=best.mode == "max")
    progress.top = top[: best.keep]
    return value in progress.top


def should_stop(early: EarlyStop, progress: Progress, values: Mapping[str, float]) -> bool:
    """Whether the metric has not improved for `patience` evaluations; remembers this one."""
    value = values[early.monitor]
    sign = 1.0 if early.mode == "min" else -1.0
    if progress.early_best is None or sign * value < sign * progress.early_best - early.min_delta:
        progress.early_best = value
        progress.evals_without_gain = 0
    else:
        progress.evals_without_gain += 1
    return progress.evals_without_gain >= early.patience


def check_monitors(watched: Iterable[tuple[str, str]], names: Iterable[str]) -> None:
    """SpecError when a watched metric is none that evaluation gives; asked before the first step, not after hours."""
    known = sorted(names)
    for where, monitor in watched:
        if monitor not in known:
            raise SpecError(
                f"spec.trainer.{where}.monitor is {monitor}, but evaluation gives {', '.join(known)}; write one of these"
            )
