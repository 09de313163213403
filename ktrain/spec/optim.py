"""The optimizer and the learning rate over the run."""

from typing import Literal

from pydantic import field_validator

from ktrain.spec.base import Model, setting
from ktrain.spec.common import Args, Length
from ktrain.units import Span


class Clip(Model):
    """Gradient clipping."""

    norm: float = setting(resume="warn", doc="largest global L2 norm of the gradients", gt=0)


class Optim(Model):
    """The optimizer."""

    name: Literal["adamw", "sgd"] = setting("adamw", resume="refuse", doc="torch.optim's AdamW or SGD")
    lr: float = setting(resume="warn", doc="base learning rate", gt=0)
    args: Args = setting(
        {}, resume="warn", doc="the optimizer's other arguments: betas, eps, weight_decay, momentum, …"
    )
    kernel: Literal["fused", "foreach"] = setting(
        "fused", resume="warn", doc="torch's implementation; part of the numbers, so part of the spec"
    )
    no_decay: Literal["auto", "none"] | tuple[str, ...] = setting(
        "auto",
        resume="warn",
        doc="parameters without weight decay; auto: biases, norms and all other 1-D ones; or regular expressions of names",
    )
    clip: Clip | None = setting(None, resume="warn", doc="gradient clipping")

    @field_validator("args")
    @classmethod
    def _no_own_keys(cls, args: Args) -> Args:
        for name in ("lr", "params", "foreach", "fused", "capturable", "differentiable", "maximize"):
            if name in args:
                raise ValueError(
                    f"{name!r} does not belong in optim.args; " + ("use optim.lr" if name == "lr" else "ktrain sets it")
                )
        return args


class Schedule(Model):
    """The learning rate as a function of progress; nothing of it is stored."""

    name: Literal["constant", "cosine"] = setting("constant", resume="warn", doc="shape after the warm-up")
    warmup: Length = setting(Span(0, "step"), resume="warn", doc="linear rise from 0 at the beginning")
    min_ratio: float = setting(0.0, resume="warn", doc="share of the base rate at the end", ge=0, le=1)
