"""Evaluation, and what follows from it: stopping early, keeping the best."""

from typing import Literal

from pydantic import field_validator

from ktrain.spec.base import Model, setting
from ktrain.spec.common import Length, Monitor, positive
from ktrain.units import Span


class Eval(Model):
    """Evaluation on data.val; there is always one at the very end."""

    every: Length | None = setting(None, resume="free", doc="how often; none: at the end only")
    micro: int | None = setting(None, resume="free", doc="samples per forward pass; none: batch.micro", ge=1)
    max_samples: int | None = setting(None, resume="free", doc="evaluate on the first so many samples; none: all", ge=1)

    weights: Literal["live", "ema"] = setting("live", resume="warn", doc="ema: those of optim.ema")

    @field_validator("every")
    @classmethod
    def _units(cls, every: Span | None) -> Span | None:
        return every if every is None else positive(every)


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
