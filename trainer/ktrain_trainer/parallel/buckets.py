"""Gradients in flat buckets, laid out by the model alone: the same on every run, every restart and every rank."""

from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn

FIRST_BUCKET_BYTES: Final = 1 << 20  # small, so that reduction starts early in backward
BUCKET_BYTES: Final = 25 << 20


@dataclass(slots=True)
class Bucket:
    """Gradients of some parameters, then a few numbers more that travel with them."""

    flat: torch.Tensor
    grads: torch.Tensor  # view of flat without the numbers
    more: torch.Tensor  # view of flat: the numbers
    params: list[nn.Parameter]
    views: list[torch.Tensor]
    waiting: int = 0
    work: Any = None


def groups(model: nn.Module) -> list[list[nn.Parameter]]:
    """The trained parameters, the last first (backward reaches them first), cut by size, dtype and device."""
    made: list[list[nn.Parameter]] = []
    size = 0
    for param in reversed([param for param in model.parameters() if param.requires_grad]):
        limit = FIRST_BUCKET_BYTES if len(made) <= 1 else BUCKET_BYTES
        same = made and (made[-1][0].dtype, made[-1][0].device) == (param.dtype, param.device)
        if not same or size >= limit:
            made.append([])
            size = 0
        made[-1].append(param)
        size += param.numel() * param.element_size()
    return made


def bucket(params: list[nn.Parameter], *, more: int) -> Bucket:
    """One bucket with room for `more` numbers."""
    total = sum(param.numel() for param in params)
    flat = torch.zeros(total + more, dtype=params[0].dtype, device=params[0].device)
    views, at = [], 0
    for param in params:
        views.append(flat[at : at + param.numel()].view_as(param))
        at += param.numel()
    return Bucket(flat, flat[:total], flat[total:], params, views)
