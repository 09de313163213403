"""A student that learns from a teacher's outputs beside the targets (Hinton et al. 2015)."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  -- torch's own custom
from torch import nn

from ktrain.errors import BuildError
from ktrain.spec.common import Use
from ktrain.spec.task import ModelSpec
from ktrain_trainer import build, losses
from ktrain_trainer.checkpoint import World as Alone
from ktrain_trainer.checkpoint import init_from
from ktrain_trainer.tasks.out import Out
from ktrain_trainer.tasks.supervised import Supervised, forward, split

_WHERE = "spec.trainer.task.args"


@dataclass(frozen=True)
class Distill:
    """alpha · T² · KL(teacher at T ‖ student at T) + (1 - alpha) · the job's loss, both over the targets that count.

    The teacher is in evaluation mode, has no gradients, and belongs to neither checkpoint nor optimizer.
    """

    supervised: Supervised
    teacher: nn.Module
    temperature: float = 4.0
    alpha: float = 0.7
    _moved: set[torch.device] = field(default_factory=set, compare=False, repr=False)

    def __call__(self, model: nn.Module, batch: Any) -> Out:
        inputs, targets = split(batch)
        weight = losses.weigh(targets, self.supervised.args)
        outputs = forward(model, inputs)
        with torch.no_grad():
            taught = forward(self._teacher(outputs.device), inputs)
        if taught.shape != outputs.shape:
            raise BuildError(
                f"the teacher gives {tuple(taught.shape)}, but the student {tuple(outputs.shape)}; they must have the same classes",
                f"{_WHERE}.teacher",
            )
        hard = self.supervised.compare(outputs, targets, weight)
        soft = self._soft(outputs, taught, targets)
        loss_sum = self.alpha * soft + (1 - self.alpha) * hard.loss_sum
        logs = (
            {}
            if torch.is_grad_enabled()
            else {**hard.logs, "soft_loss": (soft, weight), "hard_loss": (hard.loss_sum, weight)}
        )
        return Out(loss_sum, weight, logs, hard.seen)

    def _soft(self, outputs: torch.Tensor, taught: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        student = F.log_softmax(outputs.float() / self.temperature, dim=-1)
        teacher = F.log_softmax(taught.float() / self.temperature, dim=-1)
        each = F.kl_div(student, teacher, reduction="none", log_target=True).sum(-1)
        if not targets.is_floating_point():
            each = each * (targets != self.supervised.args.get("ignore_index", losses.IGNORED))
        return each.sum() * self.temperature**2

    def _teacher(self, device: torch.device) -> nn.Module:
        if device not in self._moved:
            self._moved.clear()
            self._moved.add(device)
            self.teacher.to(device)
        return self.teacher


def make(
    supervised: Supervised, *, teacher: Mapping[str, Any], temperature: float = 4.0, alpha: float = 0.7
) -> Distill:
    """From task.args: teacher is {use, args, initFrom} as a job's model is; BuildError names what is wrong."""
    if not supervised.over_classes or supervised.args.get("weight") is not None:
        raise BuildError(
            "distillation is of classes: the loss must be cross_entropy or nll, without weights",
            "spec.trainer.task.loss",
        )
    if not 0 <= alpha <= 1 or not temperature > 0:
        raise BuildError(
            f"alpha is {alpha} and temperature {temperature}; they must be from 0 to 1, and above 0", _WHERE
        )
    try:
        spec = ModelSpec.model_validate(teacher)
    except ValueError as error:
        raise BuildError(
            f"{teacher!r} is no model; write use, args and initFrom: {error}", f"{_WHERE}.teacher"
        ) from error
    model = build.construct(Use(use=spec.use, args=spec.args), f"{_WHERE}.teacher")
    if not isinstance(model, nn.Module):
        raise BuildError(f"{spec.use} gave a {type(model).__name__}, not a torch.nn.Module", f"{_WHERE}.teacher")
    if spec.init_from and not any(it.is_meta for it in model.parameters()):
        init_from(model, spec.init_from, world=Alone())
    return Distill(supervised, model.eval().requires_grad_(False), float(temperature), float(alpha))
