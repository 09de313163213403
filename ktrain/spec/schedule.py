"""The learning rate over the run."""

from collections.abc import Mapping
from typing import Final, Literal, Self

from pydantic import field_validator, model_validator

from ktrain.spec.base import Model, setting
from ktrain.spec.common import Args, Length, Monitor, Target
from ktrain.units import Span

_NONE: Final = Span(0, "step")
_MIN: Final = frozenset({"warmup", "min_ratio"})

KEYS: Final[Mapping[str, frozenset[str]]] = {
    "constant": frozenset({"warmup"}),
    "linear": _MIN,
    "cosine": _MIN,
    "cosine_restarts": _MIN | {"period", "mult", "decay"},
    "step": _MIN | {"every", "gamma"},
    "multistep": _MIN | {"milestones", "gamma"},
    "exponential": _MIN | {"every", "gamma"},
    "polynomial": _MIN | {"power"},
    "inverse_sqrt": _MIN,
    "wsd": _MIN | {"cooldown", "shape"},
    "onecycle": frozenset({"rise", "shape", "div_factor", "final_div_factor"}),
    "plateau": _MIN | {"monitor", "mode", "gamma", "patience", "threshold"},
}
"""Which keys each schedule knows."""

_NEEDED: Final[Mapping[str, tuple[str, ...]]] = {
    "cosine_restarts": ("period",),
    "step": ("every",),
    "multistep": ("milestones",),
    "exponential": ("every", "gamma"),
    "inverse_sqrt": ("warmup",),
    "wsd": ("cooldown",),
}


class Schedule(Model):
    """The learning rate as a function of progress; only plateau and torch's own schedulers (use) store something."""

    name: Literal[
        "constant", "linear", "cosine", "cosine_restarts", "step", "multistep", "exponential", "polynomial",
        "inverse_sqrt", "wsd", "onecycle", "plateau",
    ] = setting("constant", resume="warn", doc="shape after the warm-up")  # fmt: skip
    use: Target | None = setting(
        None,
        resume="refuse",
        doc="a scheduler of torch's, or the like, in place of name: module:attr, called with args",
    )
    args: Args = setting({}, resume="refuse", doc="keyword arguments of use")  # the stored state holds them too
    warmup: Length = setting(
        _NONE, resume="warn", doc="linear rise from 0 at the beginning; cosine_restarts: of each cycle"
    )
    min_ratio: float = setting(0.0, resume="warn", doc="share of the base rate that is left at the end", ge=0, le=1)
    period: Length | None = setting(None, resume="warn", doc="cosine_restarts: length of the first cycle")
    mult: float | None = setting(
        None, resume="warn", doc="cosine_restarts: each cycle is so many times as long as the one before; none: 1", ge=1
    )
    decay: float | None = setting(
        None,
        resume="warn",
        doc="cosine_restarts: each cycle begins with this share of the peak before; none: 1",
        gt=0,
        le=1,
    )
    every: Length | None = setting(None, resume="warn", doc="step, exponential: for how long gamma counts once")
    milestones: tuple[Length, ...] | None = setting(None, resume="warn", doc="multistep: when the rate falls, in order")
    gamma: float | None = setting(
        None, resume="warn", doc="step, multistep, exponential, plateau: factor of a fall; none: 0.1", gt=0, lt=1
    )
    power: float | None = setting(None, resume="warn", doc="polynomial: exponent; none: 1", gt=0, le=100)
    cooldown: Length | None = setting(None, resume="warn", doc="wsd: length of the fall at the end of the run")
    shape: Literal["cosine", "linear", "sqrt"] | None = setting(
        None, resume="warn", doc="wsd: of the fall, none: linear; onecycle: cosine or linear, none: cosine"
    )
    rise: float | None = setting(
        None, resume="warn", doc="onecycle: share of the run that rises; none: 0.3", gt=0, lt=1
    )
    div_factor: float | None = setting(
        None, resume="warn", doc="onecycle: it begins at the base rate divided by this; none: 25", ge=1
    )
    final_div_factor: float | None = setting(
        None, resume="warn", doc="onecycle: it ends at the first rate divided by this; none: 1e4", ge=1
    )
    monitor: Monitor | None = setting(None, resume="warn", doc="plateau: metric to watch; none: val/loss")
    mode: Literal["min", "max"] | None = setting(
        None, resume="warn", doc="plateau: which direction is better; none: min"
    )
    patience: int | None = setting(
        None, resume="warn", doc="plateau: evaluations without gain that are borne; none: 10", ge=0
    )
    threshold: float | None = setting(
        None, resume="warn", doc="plateau: least relative change that counts; none: 1e-4", ge=0, lt=1
    )

    @property
    def watched(self) -> str | None:
        """The metric that a plateau is seen in."""
        return (self.monitor or "val/loss") if self.name == "plateau" else None

    @property
    def lengths(self) -> dict[str, Span]:
        """All lengths that are given, by key."""
        given = {"warmup": self.warmup, "period": self.period, "every": self.every, "cooldown": self.cooldown}
        spans = {key: span for key, span in given.items() if span is not None and span.value}
        return spans | {f"milestones[{at}]": span for at, span in enumerate(self.milestones or ())}

    @field_validator("period", "every", "cooldown")
    @classmethod
    def _some(cls, span: Span | None) -> Span | None:
        if span is not None and span.value <= 0:
            raise ValueError(f"{span} must be more than nothing")
        return span

    @field_validator("milestones")
    @classmethod
    def _rising(cls, spans: tuple[Span, ...] | None) -> tuple[Span, ...] | None:
        told = ", ".join(map(str, spans or ()))
        if spans is not None and not spans:
            raise ValueError("milestones is empty; give at least one, such as [30ep, 60ep]")
        if len({span.unit for span in spans or ()}) > 1:
            raise ValueError(f"milestones are {told}: write all of them in one unit")
        if any(later.value <= before.value for before, later in zip(spans or (), (spans or ())[1:], strict=False)):
            raise ValueError(f"milestones are {told}: each must be later than the one before")
        return spans

    @model_validator(mode="after")
    def _own_keys(self) -> Self:
        fields = type(self).model_fields
        given = {name for name in fields if name not in {"name", "use", "args"}}
        given = {name for name in given if getattr(self, name) != fields[name].default}
        for name in sorted(given - (KEYS[self.name] if self.use is None else frozenset())):
            known = ", ".join(str(fields[it].alias) for it in sorted(KEYS[self.name])) if self.use is None else "args"
            raise ValueError(
                f"{fields[name].alias} does not belong to schedule {self.use or self.name}; it takes {known}"
            )
        return self

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.use and self.name != "constant":
            raise ValueError(f"name is {self.name} and use is {self.use}; give one of them")
        if self.args and not self.use:
            raise ValueError(f"args belong to use; write those of {self.name} beside its name")
        for name in () if self.use else _NEEDED.get(self.name, ()):
            if getattr(self, name) in (None, _NONE):
                raise ValueError(f"schedule {self.name} needs {name}")
        if self.name == "onecycle" and self.shape == "sqrt":
            raise ValueError("onecycle's shape is cosine or linear, not sqrt")
        return self
