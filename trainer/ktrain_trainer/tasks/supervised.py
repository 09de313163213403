"""Inputs and targets: what most training is."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from ktrain.errors import BuildError, DataError
from ktrain_trainer import losses
from ktrain_trainer.losses import Kind, LossFunction
from ktrain_trainer.tasks.out import Out, Seen

log = logging.getLogger("ktrain")


@dataclass(frozen=True)
class Supervised:
    """Batches are (inputs, targets) and the model is called with the inputs, or mappings whose `labels` are the targets
    and whose other entries are the model's arguments. What has .logits, as in transformers, gives those.

    With a loss over classes, outputs (batch, …, classes) and targets (batch, …) are flattened first; targets equal to
    ignore_index do not count. Evaluation adds val/accuracy then.
    """

    loss: LossFunction
    args: Mapping[str, Any]
    over_classes: bool
    kind: Kind | None = None
    _on: dict[torch.device, dict[str, Any]] = field(default_factory=dict, compare=False, repr=False)

    def __call__(self, model: nn.Module, batch: Any) -> Out:
        inputs, targets = split(batch)
        # Before the forward pass: to count behind it would have the device wait for the host in the middle of a step.
        weight = losses.weigh(targets, self.args) if self.over_classes else 0.0
        return self.compare(forward(model, inputs), targets, weight)

    def compare(self, outputs: Any, targets: Any, weight: float = 0.0) -> Out:
        """The loss of outputs that are there already; weight as of `losses.weigh`, for a loss over classes."""
        if self.over_classes:
            return self._classes(outputs, targets, weight)
        given = self._given(outputs)
        args = (*given, targets) if not self.kind or self.kind.has_targets else given
        loss_sum = self.loss(*args, reduction="sum", **self._args(given[0].device))
        count = len(given[0]) if self.kind and self.kind.per_sample else targets.numel()
        return Out(loss_sum, count, seen=self._seen(outputs, targets))

    def _classes(self, outputs: torch.Tensor, targets: torch.Tensor, weight: float) -> Out:
        seen = self._seen(outputs, targets)
        if outputs.dim() == targets.dim() + 1 and outputs.dim() != 2:
            outputs, targets = outputs.flatten(0, -2), targets.flatten()
        args = self._args(outputs.device)
        try:
            loss_sum = self.loss(outputs.float(), targets, reduction="sum", **args)
        except IndexError as error:  # on CPUs; GPUs end with an assertion of their own
            raise DataError(
                f"a label is out of range ({error}), for the model gives {outputs.shape[-1]} classes; write data.train.classes "
                "to have the row named, or give the model more outputs",
                "spec.trainer.data.train.classes",
            ) from None
        if torch.is_grad_enabled():
            return Out(loss_sum, weight)
        if outputs.dim() != 2 or targets.dim() != 1:
            return Out(loss_sum, weight, seen=seen)
        hits = (outputs.argmax(-1) == targets).sum()
        return Out(loss_sum, weight, {"accuracy": (hits, losses.count(targets, self.args))}, seen)

    def _args(self, device: torch.device) -> dict[str, Any]:
        if device not in self._on:
            self._on[device] = {
                name: it.to(device) if isinstance(it, torch.Tensor) else it for name, it in self.args.items()
            }
        return self._on[device]

    def _given(self, outputs: Any) -> tuple[torch.Tensor, ...]:
        wanted = self.kind.outputs if self.kind else 1
        given = (outputs,) if wanted == 1 else tuple(outputs) if isinstance(outputs, tuple | list) else ()
        if len(given) != wanted:
            raise BuildError(
                f"this loss compares {wanted} tensors, but the model gave a {type(outputs).__name__}"
                f"{f' of {len(given)}' if given else ''}; return a tuple of {wanted}",
                "spec.trainer.task.loss.use",
            )
        return given

    def _seen(self, outputs: Any, targets: Any) -> Seen | None:
        if torch.is_grad_enabled():
            return None
        ignored = self.args.get("ignore_index", losses.IGNORED) if self.over_classes else None
        return Seen(outputs, targets, ignored, self.kind.scores if self.kind else None)


@dataclass(frozen=True)
class FirstLook:
    """Looks at the outputs of the first micro-batch, and at no later one: what it looks for costs a GPU sync."""

    task: Supervised
    _looked: list[bool] = field(default_factory=list, compare=False, repr=False)

    def __call__(self, model: nn.Module, batch: Any) -> Out:
        """As the task."""
        if self._looked:
            return self.task(model, batch)
        self._looked.append(True)
        inputs, targets = split(batch)
        outputs = forward(model, inputs)
        check_weight(outputs, self.task.args)
        if looks_like_softmax(outputs):
            _warn(
                "the model's outputs are all from 0 to 1 and sum to 1, as after a softmax; cross_entropy takes the softmax "
                "itself: remove the model's, or use the nll loss on its logarithm (log_softmax)"
            )
        return self.task.compare(outputs, targets, losses.weigh(targets, self.task.args))


def looks_like_softmax(outputs: torch.Tensor) -> bool:
    """Whether they are probabilities of two classes or more; a GPU sync."""
    if outputs.dim() < 2 or outputs.shape[-1] < 2 or not outputs.numel():
        return False
    values = outputs.detach().float()
    off = (values.sum(-1) - 1).abs().max()
    return bool(
        (values.min() >= 0) & (values.max() <= 1) & (off < 1e-2 if outputs.dtype != torch.float32 else off < 1e-4)
    )


def check_weight(outputs: torch.Tensor, args: Mapping[str, Any]) -> None:
    """BuildError when there are not as many class weights as classes."""
    weight = args.get("weight")
    if weight is not None and len(weight) != outputs.shape[-1]:
        raise BuildError(
            f"weight has {len(weight)} numbers, but the model's outputs have {outputs.shape[-1]} classes; give one number per class",
            "spec.trainer.task.loss.args",
        )


def forward(model: nn.Module, inputs: Any) -> Any:
    """The model's outputs; its logits, when it gives an object that has them."""
    outputs = model(**inputs) if isinstance(inputs, Mapping) else model(inputs)
    return getattr(outputs, "logits", outputs)


def split(batch: Any) -> tuple[Any, torch.Tensor]:
    """Inputs and targets of a batch; BuildError when it has not the two."""
    if isinstance(batch, tuple | list) and len(batch) == 2:
        return batch[0], batch[1]
    if isinstance(batch, Mapping) and "labels" in batch:
        return {name: value for name, value in batch.items() if name != "labels"}, batch["labels"]
    raise BuildError(
        f"the supervised task wants batches (inputs, targets), or mappings with labels, but the collate function gave a "
        f"{type(batch).__name__}; return a pair, or write your own task"
    )


def _warn(text: str) -> None:
    if not dist.is_initialized() or dist.get_rank() == 0:
        log.warning(text)
