"""What a task says of a micro-batch: the only protocol that the user's own training logic has to meet."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import nn


@dataclass(frozen=True, slots=True)
class Seen:
    """What evaluation's metrics and predictions are made of; the first dimension of everything is the sample.

    outputs and targets: tensors, or lists with one entry per sample; ignore_index: targets that do not count;
    scores: from outputs to probabilities, None when outputs are none.
    """

    outputs: Any
    targets: Any
    ignore_index: int | None = None
    scores: Callable[[torch.Tensor], torch.Tensor] | None = None


@dataclass(frozen=True, slots=True)
class Out:
    """What a task says of one micro-batch, always as sums: means of uneven parts cannot be added, sums can.

    loss_sum: 0-dim, differentiable; weight: how many targets it sums over; logs: name → (sum, weight) for evaluation;
    seen: for evaluation's metrics and predictions.
    """

    loss_sum: torch.Tensor
    weight: float | torch.Tensor
    logs: Mapping[str, tuple[torch.Tensor, float | torch.Tensor]] = field(default_factory=dict)
    seen: Seen | None = None


class Task(Protocol):
    """Called with the model and a batch on the model's device; while evaluating without gradients."""

    def __call__(self, model: nn.Module, batch: Any) -> Out: ...
