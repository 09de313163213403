"""The optimizer, and what is done to gradients and weights on the way."""

import math
import re
from typing import Literal, Self

from pydantic import field_validator, model_validator

from ktrain.spec.base import Model, setting
from ktrain.spec.common import Args, Length, Target, positive
from ktrain.units import Span


class Clip(Model):
    """Gradient clipping, in one of three ways."""

    norm: float | None = setting(None, resume="warn", doc="largest global L2 norm of the gradients", gt=0)
    value: float | None = setting(None, resume="warn", doc="largest absolute value of an element", gt=0)
    adaptive: float | None = setting(
        None, resume="warn", doc="largest norm of a unit's gradient, as a share of its weights' norm (AGC)", gt=0, le=1
    )

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        given = [name for name in ("norm", "value", "adaptive") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"clip has {' and '.join(given) or 'nothing in it'}; give one of norm, value, adaptive")
        return self


class Rule(Model):
    """What holds for some parameters; of several rules that match, the first that gives a key counts."""

    match: str = setting(resume="warn", doc="regular expression, searched in names of parameters", min_length=1)
    lr_scale: float | None = setting(None, resume="warn", doc="factor of the learning rate", gt=0)
    weight_decay: float | None = setting(None, resume="warn", doc="in place of the optimizer's", ge=0)
    frozen_until: Length | None = setting(None, resume="warn", doc="they stay as they are until then")

    @field_validator("match")
    @classmethod
    def _is_pattern(cls, pattern: str) -> str:
        return _pattern(pattern)

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.lr_scale is None and self.weight_decay is None and self.frozen_until is None:
            raise ValueError(f"the rule for {self.match} changes nothing; give lrScale, weightDecay or frozenUntil")
        return self


class LrScale(Model):
    """The base rate follows the batch."""

    rule: Literal["linear", "sqrt"] = setting("linear", resume="warn", doc="how the rate grows with the batch")
    base_batch: int = setting(resume="warn", doc="batch.global for which optim.lr was found", ge=1)


class Ema(Model):
    """A moving average of the weights."""

    decay: float = setting(resume="refuse", doc="share of the old average that is kept", gt=0, lt=1)
    every: Length = setting(Span(1, "step"), resume="warn", doc="how often the weights are taken in")

    @field_validator("every")
    @classmethod
    def _units(cls, every: Span) -> Span:
        return positive(every)


class Optim(Model):
    """The optimizer."""

    name: Literal["adamw", "adam", "sgd", "lion", "muon", "schedulefree_adamw", "schedulefree_sgd"] = setting(
        "adamw",
        resume="refuse",
        doc="torch.optim's, or lion-pytorch's, or schedulefree's; muon: with adamw for what it cannot",
    )
    use: Target | None = setting(
        None, resume="refuse", doc="another optimizer in place of name: module:attr, called with groups, lr and args"
    )
    lr: float = setting(resume="warn", doc="base learning rate", gt=0)
    lr_scale: LrScale | None = setting(None, resume="warn", doc="the base rate follows batch.global")
    args: Args = setting(
        {}, resume="warn", doc="the optimizer's other arguments: betas, eps, weight_decay, momentum, …"
    )
    kernel: Literal["fused", "foreach"] = setting(
        "fused",
        resume="warn",
        doc="torch's implementation of adamw, adam, sgd; part of the numbers, so part of the spec",
    )
    no_decay: Literal["auto", "none"] | tuple[str, ...] = setting(
        "auto",
        resume="warn",
        doc="parameters without weight decay; auto: biases, norms and all other 1-D ones; or regular expressions of names",
    )
    layer_decay: float | None = setting(
        None, resume="warn", doc="each layer's rate is so many times that of the layer after it", gt=0, lt=1
    )
    rules: tuple[Rule, ...] = setting((), resume="warn", doc="what holds for some parameters only")
    clip: Clip | None = setting(None, resume="warn", doc="gradient clipping")
    ema: Ema | None = setting(None, resume="refuse", doc="a moving average of the weights, for eval.weights: ema")

    def rate(self, global_batch: int) -> float:
        """The base learning rate for a batch of this size."""
        if self.lr_scale is None:
            return self.lr
        ratio = global_batch / self.lr_scale.base_batch
        return self.lr * (ratio if self.lr_scale.rule == "linear" else math.sqrt(ratio))

    @field_validator("args")
    @classmethod
    def _no_own_keys(cls, args: Args) -> Args:
        for name in ("lr", "params", "foreach", "fused", "capturable", "differentiable", "maximize"):
            if name in args:
                raise ValueError(
                    f"{name!r} does not belong in optim.args; " + ("use optim.lr" if name == "lr" else "ktrain sets it")
                )
        return args

    @field_validator("no_decay")
    @classmethod
    def _are_patterns(cls, no_decay: str | tuple[str, ...]) -> str | tuple[str, ...]:
        for pattern in no_decay if isinstance(no_decay, tuple) else ():
            _pattern(pattern)
        return no_decay

    @model_validator(mode="after")
    def _one_optimizer(self) -> Self:
        if self.use and self.name != "adamw":
            raise ValueError(f"optim.name is {self.name} and optim.use is {self.use}; give one of them")
        return self


def _pattern(pattern: str) -> str:
    try:
        re.compile(pattern)
    except re.error as error:
        raise ValueError(f"{pattern!r} is no regular expression: {error}") from None
    return pattern
