"""What is kept of a run: checkpoints and records of the training curve."""

from pydantic import field_validator

from ktrain.spec.base import Model, setting
from ktrain.spec.common import positive
from ktrain.spec.evaluation import Best
from ktrain.units import Span


class Checkpoint(Model):
    """When to save and what to keep."""

    every: tuple[Span, ...] = setting(
        (Span(600.0, "s"),), resume="free", doc="whichever comes first: 500step, 1ep, 10min"
    )
    keep_last: int = setting(2, resume="free", doc="newest commits to keep", ge=1, le=10_000)
    best: Best | None = setting(None, resume="free", doc="also keep the best by a metric")

    @field_validator("every", mode="before", json_schema_input_type=Span | tuple[Span, ...])
    @classmethod
    def _listed(cls, every: object) -> object:
        return every if isinstance(every, list | tuple) else (every,)

    @field_validator("every")
    @classmethod
    def _units(cls, every: tuple[Span, ...]) -> tuple[Span, ...]:
        return tuple(positive(span) for span in every)


class Log(Model):
    """What is written how often."""

    every: Span = setting(Span(10, "step"), resume="free", doc="steps between two records of the training curve")

    @field_validator("every")
    @classmethod
    def _units(cls, every: Span) -> Span:
        if every.unit != "step":
            raise ValueError(f"{every} is not in steps; write for example 10step")
        return positive(every)
