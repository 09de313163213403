"""Buffers that training changes (batch-norm statistics): rank 0's are the model's, on every rank, after every step."""

from typing import Any

import torch
import torch.distributed as dist
from torch import nn


class Buffers:
    """Finds out in the first step which buffers move, and from then on sends those; a causal mask is never sent."""

    def __init__(self, model: nn.Module, group: Any) -> None:
        self._group = group
        self._all = list(model.buffers())
        self._before: list[torch.Tensor] | None = None
        self._moving: list[torch.Tensor] | None = None

    def begin(self) -> None:
        """Before a step; remembers the values before the first one."""
        # By value: kernels such as batch_norm change running statistics without counting up the tensor's version.
        if self._before is None:
            self._before = [buffer.clone() for buffer in self._all]

    def sync(self) -> None:
        """After a step. A collective in the first step, and then only when some buffer moves."""
        if not self._all:
            return
        if self._moving is None:
            self._moving, self._before = self._find(), []
        broadcast(self._moving, self._group)

    def _find(self) -> list[torch.Tensor]:
        pairs = zip(self._all, self._before or [], strict=True)
        moved = torch.tensor([not torch.equal(now, before) for now, before in pairs], dtype=torch.float32)
        dist.all_reduce(moved, group=self._group)  # a rank without a micro-batch in this step has seen nothing move
        return [buffer for buffer, count in zip(self._all, moved.tolist(), strict=True) if count]


def broadcast(tensors: list[torch.Tensor], group: Any) -> None:
    """Rank 0's values for all, in order."""
    with torch.no_grad():
        for tensor in tensors:
            dist.broadcast(tensor.detach(), src=0, group=group)
