"""The network, and how a batch becomes a loss."""

from typing import Literal

from ktrain.spec.base import Model, setting
from ktrain.spec.common import Args, ShortName, Target, Use


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
        doc="cross_entropy, nll, focal, bce_with_logits, mse, l1, smooth_l1, huber, kl_div, cosine_embedding, triplet_margin, info_nce, or module:attr",
    )
    args: Args = setting({}, resume="warn", doc="keyword arguments, without reduction")


class TaskSpec(Model):
    """How a batch becomes a loss."""

    use: Literal["supervised", "causal_lm", "multi_task", "distill", "detection"] | Target = setting(
        "supervised",
        resume="refuse",
        doc="supervised, causal_lm, multi_task, distill, detection, or module:attr of a Task",
    )
    args: Args = setting({}, resume="warn", doc="keyword arguments of the task")
    loss: Loss = setting(Loss(), resume="refuse", doc="loss of the supervised task, and of distill beside the teacher")
