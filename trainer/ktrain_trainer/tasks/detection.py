"""Boxes in images, with models as torchvision has them."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from ktrain.errors import BuildError
from ktrain_trainer.tasks.out import Out, Seen


@dataclass(frozen=True)
class Detection:
    """Batches are (images, targets), lists with one entry per image, as Collate makes them; a target is a mapping with
    boxes (n, 4), labels (n,), perhaps masks and more. While training, model(images, targets) gives a mapping of losses,
    each a mean over the images; otherwise model(images) gives boxes, scores and labels of each, for the metric `map`.

    The loss is the sum of the model's, times the images of the micro-batch. weights: factors by the losses' names.
    """

    weights: Mapping[str, float] | None = None

    def __call__(self, model: nn.Module, batch: Any) -> Out:
        images, targets = _pair(batch)
        if torch.is_grad_enabled():
            return Out(self._sum(model(images, targets)) * len(images), len(images))
        found = model(images)
        with _as_in_training(model):
            parts = model(images, targets)
        logs = {name: (value * len(images), len(images)) for name, value in parts.items()}
        kept = [{name: it[name] for name in ("boxes", "scores", "labels") if name in it} for it in found]
        return Out(self._sum(parts) * len(images), len(images), logs, Seen(kept, targets))

    def _sum(self, parts: Any) -> torch.Tensor:
        if not isinstance(parts, Mapping) or not parts:
            raise BuildError(
                f"the model gave a {type(parts).__name__} while training; the detection task wants a mapping of losses, "
                "as torchvision's detectors give",
                "spec.trainer.model.use",
            )
        return torch.stack([(self.weights or {}).get(name, 1.0) * it for name, it in parts.items()]).sum()


@dataclass(frozen=True)
class Collate:
    """Images differ in size and in how many boxes they have: a batch is two lists, and nothing is stacked."""

    def __call__(
        self, samples: Sequence[tuple[torch.Tensor, Mapping[str, torch.Tensor]]]
    ) -> tuple[list[Any], list[Any]]:
        return [image for image, _ in samples], [dict(target) for _, target in samples]


@contextmanager
def _as_in_training(model: nn.Module) -> Iterator[None]:
    """Such models tell their losses in training mode only; what learns from the batch by itself stays as it was."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm | nn.modules.dropout._DropoutNd):
            module.eval()
    try:
        yield
    finally:
        model.eval()


def _pair(batch: Any) -> tuple[list[Any], list[Any]]:
    if isinstance(batch, tuple | list) and len(batch) == 2 and all(isinstance(it, list | tuple) for it in batch):
        return list(batch[0]), list(batch[1])
    raise BuildError(
        "the detection task wants batches (images, targets) of two lists; set data.collate.use to "
        "ktrain_trainer.tasks.detection:Collate",
        "spec.trainer.data.collate",
    )
