"""How a batch becomes a loss: the only protocol that the user's own training logic has to meet."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Protocol

import torch
import torch.nn.functional as F  # noqa: N812  -- torch's own custom
from torch import nn

from ktrain.errors import BuildError
from ktrain.spec.task import Loss, TaskSpec
from ktrain_trainer import build


@dataclass(frozen=True, slots=True)
class Out:
    """What a task says of one micro-batch, always as sums: means of uneven parts cannot be added, sums can.

    loss_sum: 0-dim, differentiable; weight: how many targets it sums over; logs: name → (sum, weight) for evaluation.
    """

    loss_sum: torch.Tensor
    weight: float | torch.Tensor
    logs: Mapping[str, tuple[torch.Tensor, float | torch.Tensor]] = field(default_factory=dict)


class Task(Protocol):
    """Called with the model and a batch on the model's device; while evaluating without gradients."""

    def __call__(self, model: nn.Module, batch: Any) -> Out: ...


LossFunction = Callable[..., torch.Tensor]
LOSSES: Final[dict[str, LossFunction]] = {
    "cross_entropy": F.cross_entropy,
    "mse": F.mse_loss,
    "bce_with_logits": F.binary_cross_entropy_with_logits,
    "l1": F.l1_loss,
    "huber": F.huber_loss,
    "nll": F.nll_loss,
}
_BY_CLASS: Final = frozenset({"cross_entropy", "nll"})


@dataclass(frozen=True)
class Supervised:
    """Batches are (inputs, targets); the model is called with the inputs.

    With a loss over classes, outputs (batch, …, classes) and targets (batch, …) are flattened first; targets equal to
    ignore_index do not count. Evaluation adds val/accuracy then.
    """

    loss: LossFunction
    args: Mapping[str, Any]
    over_classes: bool

    def __call__(self, model: nn.Module, batch: Any) -> Out:
        inputs, targets = _pair(batch)
        outputs = model(inputs)
        if self.over_classes:
            return self._classes(outputs, targets)
        return Out(self.loss(outputs, targets, reduction="sum", **self.args), targets.numel())

    def _classes(self, outputs: torch.Tensor, targets: torch.Tensor) -> Out:
        if outputs.dim() == targets.dim() + 1 and outputs.dim() != 2:
            outputs, targets = outputs.flatten(0, -2), targets.flatten()
        loss_sum = self.loss(outputs.float(), targets, reduction="sum", **self.args)
        weight: float | torch.Tensor = targets.numel()
        if "ignore_index" in self.args:
            weight = (targets != self.args["ignore_index"]).sum()
        if torch.is_grad_enabled():
            return Out(loss_sum, weight)
        hits = (outputs.argmax(-1) == targets).sum() if outputs.dim() == 2 and targets.dim() == 1 else None
        return Out(loss_sum, weight, {"accuracy": (hits, weight)} if hits is not None else {})


@dataclass(frozen=True)
class CausalLM:
    """Next-token prediction: batches are token ids (batch, length), or a mapping with input_ids and perhaps labels.

    The model gives logits (batch, length, vocabulary), or an object with .logits. Labels of -100 do not count.
    """

    ignore_index: int = -100

    def __call__(self, model: nn.Module, batch: Any) -> Out:
        tokens = batch["input_ids"] if isinstance(batch, Mapping) else batch
        labels = batch.get("labels", tokens) if isinstance(batch, Mapping) else tokens
        rest = (
            {name: value for name, value in batch.items() if name not in {"labels", "input_ids"}}
            if isinstance(batch, Mapping)
            else {}
        )
        outputs = model(tokens, **rest)
        logits = getattr(outputs, "logits", outputs)[:, :-1].float()
        targets = labels[:, 1:].flatten()
        loss_sum = F.cross_entropy(logits.flatten(0, 1), targets, reduction="sum", ignore_index=self.ignore_index)
        return Out(loss_sum, (targets != self.ignore_index).sum())


def make(spec: TaskSpec) -> Task:
    """The task of a job; BuildError names the key that is wrong."""
    if spec.use == "supervised":
        loss = _loss(spec.loss)
        return Supervised(loss, spec.loss.args, spec.loss.use in _BY_CLASS)
    if spec.use == "causal_lm":
        build.check_args(CausalLM, spec.args, "spec.trainer.task.args")
        return CausalLM(**spec.args)
    task: Task = build.construct(spec, "spec.trainer.task")
    return task


def _loss(spec: Loss) -> LossFunction:
    if ":" in spec.use:
        loss: LossFunction = build.resolve(spec.use, "spec.trainer.task.loss.use")
        if not callable(loss):
            raise BuildError(f"{spec.use} is a {type(loss).__name__}, not a function", "spec.trainer.task.loss.use")
        return loss
    if spec.use not in LOSSES:
        raise BuildError(
            f"there is no loss {spec.use!r}; there are {', '.join(LOSSES)}, or module:function",
            "spec.trainer.task.loss.use",
        )
    if "reduction" in spec.args:
        raise BuildError(
            "reduction is always 'sum' (the trainer divides by the targets that count); remove it",
            "spec.trainer.task.loss.args",
        )
    return LOSSES[spec.use]


def _pair(batch: Any) -> tuple[Any, torch.Tensor]:
    if isinstance(batch, tuple | list) and len(batch) == 2:
        return batch[0], batch[1]
    raise BuildError(
        f"the supervised task wants batches (inputs, targets), but the collate function gave a {type(batch).__name__}; "
        "return a pair, or write your own task"
    )
