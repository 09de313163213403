"""The rate falls when a metric no longer improves: torch's ReduceLROnPlateau, with its memory in the progress."""

from collections.abc import Mapping

from ktrain.spec.schedule import Schedule
from ktrain_trainer.progress import Progress


def see(spec: Schedule, progress: Progress, values: Mapping[str, float]) -> None:
    """Takes an evaluation in; all ranks see the same values, so they decide alike."""
    if spec.watched is None:
        return
    value = values[spec.watched]
    if _is_better(spec, value, progress.plateau_best):
        progress.plateau_best, progress.evals_on_plateau = value, 0
        return
    progress.evals_on_plateau += 1
    if progress.evals_on_plateau > (10 if spec.patience is None else spec.patience):
        gamma = 0.1 if spec.gamma is None else spec.gamma
        progress.plateau_factor = max(spec.min_ratio, progress.plateau_factor * gamma)
        progress.evals_on_plateau = 0


def _is_better(spec: Schedule, value: float, best: float | None) -> bool:
    threshold = 1e-4 if spec.threshold is None else spec.threshold
    if best is None:
        return value == value  # not NaN
    return value > best * (1 + threshold) if spec.mode == "max" else value < best * (1 - threshold)
