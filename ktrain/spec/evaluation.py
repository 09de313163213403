"""Evaluation, and what follows from it: stopping early, keeping the best."""

import difflib
import re
from collections.abc import Mapping
from typing import Any, Final, Literal

from pydantic import field_validator

from ktrain.spec import forms
from ktrain.spec.base import Model, setting
from ktrain.spec.common import Args, Length, Monitor, ShortName, positive
from ktrain.units import Span

METRICS: Final = (
    "accuracy", "precision", "recall", "f1", "fbeta", "specificity", "jaccard", "hamming", "cohen_kappa", "matthews",
    "confusion_matrix", "auroc", "average_precision", "calibration_error",
    "mse", "rmse", "mae", "mape", "r2", "explained_variance", "pearson", "spearman",
    "perplexity", "bleu", "sacre_bleu", "chrf", "wer", "cer",
    "map",
)  # fmt: skip
"""torchmetrics by short name; the trainer's registry has the same."""


class Eval(Model):
    """Evaluation on data.val; there is always one at the very end, unless maxSamples is 0."""

    every: Length | None = setting(None, resume="free", doc="how often; none: at the end only")
    micro: int | None = setting(None, resume="free", doc="samples per forward pass; none: batch.micro", ge=1)
    max_samples: int | None = setting(
        None, resume="free", doc="evaluate on the first so many samples; none: all, 0: never evaluate", ge=0
    )
    metrics: dict[ShortName, Args] = setting(
        {},
        resume="free",
        doc=f"more numbers, as val/<name>: a name with its arguments, such as f1: {{average: macro}}; {', '.join(METRICS)}, or with use: module:attr",
    )
    predictions: bool = setting(
        False, resume="free", doc="keep what the model predicts for each sample, as Parquet in the run's storage"
    )

    weights: Literal["live", "ema"] = setting("live", resume="warn", doc="ema: those of optim.ema")

    @field_validator("every")
    @classmethod
    def _units(cls, every: Span | None) -> Span | None:
        return every if every is None else positive(every)

    @field_validator("metrics")
    @classmethod
    def _known(cls, metrics: Mapping[str, Args]) -> Mapping[str, Args]:
        for name, args in metrics.items():
            _check_metric(name, args.get("use", name))
        return metrics


def _check_metric(name: str, use: Any) -> None:
    if name == "loss":
        raise ValueError("loss is the task's own; give this metric another name and say which it is with use:")
    if isinstance(use, str) and (use in METRICS or re.match(forms.TARGET.pattern, use)):
        return
    near = difflib.get_close_matches(str(use), METRICS, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(METRICS)},"
    raise ValueError(f"there is no metric {use!r}; {hint} or say with use: which module:attribute it is")


class EarlyStop(Model):
    """Stop when a metric no longer improves."""

    monitor: Monitor = setting("val/loss", resume="warn", doc="metric to watch")
    mode: Literal["min", "max"] = setting("min", resume="warn", doc="which direction is better")
    patience: int = setting(3, resume="free", doc="evaluations without improvement", ge=1)
    min_delta: float = setting(0.0, resume="free", doc="least change that counts", ge=0)


class Best(Model):
    """Keep the best checkpoints by a metric."""

    monitor: Monitor = setting("val/loss", resume="warn", doc="metric to watch")
    mode: Literal["min", "max"] = setting("min", resume="warn", doc="which direction is better")
    keep: int = setting(1, resume="free", doc="how many", ge=1, le=1000)
