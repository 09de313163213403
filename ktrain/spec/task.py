"""The network, and how a batch becomes a loss."""

import difflib
from typing import Final, Literal

from pydantic import field_validator

from ktrain.spec.base import Model, setting
from ktrain.spec.common import Args, ShortName, Target, Use

LOSSES: Final = (
    "cross_entropy", "mse", "bce_with_logits", "l1", "huber", "smooth_l1", "nll", "kl_div", "cosine_embedding",
    "triplet_margin", "info_nce", "focal",
)  # fmt: skip
"""By short name; the trainer's registry has the same."""


class ModelSpec(Use):
    """The network."""

    init_from: str | None = setting(
        None, resume="warn", doc="weights to begin with, never optimizer state: a run's URL, or <url>@<step>"
    )


class Loss(Model):
    """The loss: a short name, or an import path of a function (output, target, reduction='sum', …)."""

    use: ShortName | Target = setting(
        "cross_entropy",
        resume="refuse",
        doc=f"{', '.join(LOSSES)}, or module:attr",
    )
    args: Args = setting({}, resume="warn", doc="keyword arguments, without reduction")

    @field_validator("use")
    @classmethod
    def _known(cls, use: str) -> str:
        if ":" in use or use in LOSSES:
            return use
        near = difflib.get_close_matches(use, LOSSES, n=1)
        hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(LOSSES)},"
        raise ValueError(f"there is no loss {use!r}; {hint} or name your own: module:function")


class TaskSpec(Model):
    """How a batch becomes a loss."""

    use: Literal["supervised", "causal_lm", "multi_task", "distill", "detection"] | Target = setting(
        "supervised",
        resume="refuse",
        doc="supervised, causal_lm, multi_task, distill, detection, or module:attr of a Task",
    )
    args: Args = setting({}, resume="warn", doc="keyword arguments of the task")
    loss: Loss = setting(Loss(), resume="refuse", doc="loss of the supervised task, and of distill beside the teacher")
