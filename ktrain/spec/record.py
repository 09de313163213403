"""What is kept of a run: checkpoints and records of the training curve."""

from collections.abc import Sequence
from typing import Final, Literal

from pydantic import field_validator

from ktrain.spec.base import Model, setting
from ktrain.spec.common import positive
from ktrain.spec.evaluation import Best
from ktrain.units import Span

AUTO: Final = "auto"
_Every = Span | Literal["auto"]


class Checkpoint(Model):
    """When to save and what to keep."""

    every: tuple[_Every, ...] = setting(
        (Span(600.0, "s"),),
        resume="free",
        doc="whichever comes first: 500step, 1ep, 10min; auto: by what a save costs and how often the job fails",
    )
    memory_every: tuple[Span, ...] = setting(
        (),
        resume="free",
        doc="also copied into memory that outlives a crash of ranks: 1step, 10s; costs a third copy of each rank's share",
    )
    keep_last: int = setting(2, resume="free", doc="newest commits to keep", ge=1, le=10_000)
    best: Best | None = setting(None, resume="free", doc="also keep the best by a metric")

    @property
    def spans(self) -> tuple[Span, ...]:
        """Without `auto`."""
        return tuple(it for it in self.every if it != AUTO)

    @property
    def is_auto(self) -> bool:
        """Whether the run decides for itself."""
        return AUTO in self.every

    @field_validator("every", mode="before", json_schema_input_type=_Every | tuple[_Every, ...])
    @classmethod
    def _listed(cls, every: object) -> object:
        # Read here and not by the union, whose errors would name both of its sides.
        return tuple(it if it == AUTO else positive(Span.parse(it)) for it in _list(every))

    @field_validator("memory_every", mode="before", json_schema_input_type=Span | tuple[Span, ...] | None)
    @classmethod
    def _listed_spans(cls, every: object) -> object:
        return () if every is None else tuple(positive(Span.parse(it)) for it in _list(every))


def _list(value: object) -> Sequence[object]:
    return value if isinstance(value, list | tuple) else (value,)


class Log(Model):
    """What is written how often."""

    every: Span = setting(Span(10, "step"), resume="free", doc="steps between two records of the training curve")

    @field_validator("every")
    @classmethod
    def _units(cls, every: Span) -> Span:
        if every.unit != "step":
            raise ValueError(f"{every} is not in steps; write for example 10step")
        return positive(every)
