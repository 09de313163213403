"""The search of `ktrain tune`: which keys are tried, how values are drawn, which trials are given up early."""

import math
from typing import Any, Final, Literal, Self

from pydantic import field_validator, model_validator

from ktrain.spec.base import Model, setting
from ktrain.spec.common import Args, Monitor

MAX_GRID: Final = 10_000
_FIXED: Final = ("metadata", "storage", "tune", "apiVersion", "kind")


class Values(Model):
    """What one key of the job file may be: choices, or everything from low to high."""

    choices: tuple[Any, ...] | None = setting(None, resume="free", doc="one of these")
    low: int | float | None = setting(None, resume="free", doc="least value; two whole numbers draw whole numbers")
    high: int | float | None = setting(None, resume="free", doc="greatest value")
    log: bool = setting(False, resume="free", doc="draw evenly over magnitudes")
    step: int | float | None = setting(None, resume="free", doc="distance between two values", gt=0)

    @model_validator(mode="after")
    def _one_form(self) -> Self:
        if self.choices is not None:
            if not self.choices:
                raise ValueError("choices is empty; write at least one value")
            if self.low is not None or self.high is not None or self.step is not None or self.log:
                raise ValueError("choices stand alone; remove low, high, step and log, or choices")
        elif self.low is None or self.high is None:
            raise ValueError("write choices: […], or low and high")
        else:
            self._check_range(self.low, self.high)
        return self

    def _check_range(self, low: float, high: float) -> None:
        if low > high:
            raise ValueError(f"low is {low} and high is {high}; exchange them")
        if self.log and low <= 0:
            raise ValueError(f"low is {low}; with log: true it must be more than 0")
        if self.log and self.step is not None:
            raise ValueError("log: true has no even steps; remove step, or write the values as choices")
        if self.step is not None:
            rest = math.remainder(high - low, self.step)
            if abs(rest) > 1e-9 * max(1.0, abs(high)):
                raise ValueError(f"from {low} to {high} is no multiple of step ({self.step}); change high or step")
            if self.is_whole and not isinstance(self.step, int):
                raise ValueError(
                    f"step is {self.step} between whole numbers; write low and high as {low}.0 and {high}.0"
                )

    @property
    def is_whole(self) -> bool:
        """Whether whole numbers are drawn."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def all(self) -> list[Any] | None:
        """Every value, None where there are endlessly many."""
        if self.choices is not None:
            return list(self.choices)
        assert self.low is not None
        assert self.high is not None
        step = self.step or (1 if self.is_whole and not self.log else None)
        if step is None:
            return [self.low] if self.low == self.high else None
        count = round((self.high - self.low) / step) + 1
        return [self.low + step * number for number in range(count)] if count <= MAX_GRID else None

    def extremes(self) -> list[Any]:
        """Values that must fit the schema for all to fit."""
        return list(self.choices) if self.choices is not None else [self.low, self.high]


class Tune(Model):
    """The search of `ktrain tune`; nothing else reads it."""

    space: dict[str, Values] = setting(
        resume="free", doc="dotted key of this file, as --set takes it, to {choices: […]} or {low, high, log, step}"
    )
    sampler: Literal["tpe", "random", "grid", "qmc", "gp"] = setting(
        "tpe", resume="free", doc="how values are drawn: optuna's samplers"
    )
    sampler_args: Args = setting({}, resume="free", doc="keyword arguments of optuna's sampler")
    pruner: Literal["none", "median", "hyperband", "patient", "wilcoxon"] = setting(
        "none", resume="free", doc="which trials are given up early: optuna's pruners"
    )
    pruner_args: Args = setting({}, resume="free", doc="keyword arguments of optuna's pruner")
    trials: int | None = setting(
        None, resume="free", doc="how many; none: the whole grid, and 20 of other samplers", ge=1, le=100_000
    )
    parallel: int = setting(1, resume="free", doc="trials that train at once", ge=1, le=1000)
    metric: Monitor = setting("val/loss", resume="free", doc="what is made small or large")
    direction: Literal["minimize", "maximize"] = setting("minimize", resume="free", doc="which is better")
    at: Literal["last", "best"] = setting("last", resume="free", doc="which evaluation of a trial counts")
    seed: int = setting(0, resume="free", doc="of the sampler", ge=0, lt=2**32)

    @field_validator("space")
    @classmethod
    def _searchable(cls, space: dict[str, Values]) -> dict[str, Values]:
        if not space:
            raise ValueError("space is empty; name at least one key, such as trainer.optim.lr")
        for key in space:
            parts = key.removeprefix("spec.").split(".")
            if not all(parts):
                raise ValueError(f"{key!r} is no key; write it with dots, such as trainer.optim.lr")
            if parts[0] in _FIXED:
                raise ValueError(f"{key} is the same for all trials; search below trainer, script, env or nodes")
        return space

    @model_validator(mode="after")
    def _grid_is_finite(self) -> Self:
        if self.sampler == "grid":
            endless = [key for key, values in self.space.items() if values.all() is None]
            if endless:
                raise ValueError(
                    f"a grid needs single values, but {endless[0]} has endlessly many; write step or choices"
                )
            if self.grid_size > MAX_GRID:
                raise ValueError(f"the grid has {self.grid_size} points, more than {MAX_GRID}; take another sampler")
        return self

    @property
    def grid_size(self) -> int:
        """Points of the grid; 0 when it is endless."""
        return math.prod(len(values.all() or ()) for values in self.space.values())

    @property
    def num_trials(self) -> int:
        """`trials`, else the whole grid, else 20."""
        if self.sampler == "grid":
            return min(self.trials or self.grid_size, self.grid_size)
        return self.trials or 20
