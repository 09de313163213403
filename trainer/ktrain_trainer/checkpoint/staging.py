"""The copy in host memory that an upload reads while training goes on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ktrain_trainer.checkpoint.plan import ObjectPlan, Plan
from ktrain_trainer.checkpoint.sharding import local_part


@dataclass(frozen=True, slots=True)
class Staged:
    """One object's bytes, ready to be written."""

    plan: ObjectPlan
    data: memoryview


def stage(tensors: Mapping[str, Tensor], plan: Plan, rank: int) -> Sequence[Staged]:
    """Copies this rank's share, one copy for each byte; on a GPU each slot waits for the device."""
    return [_copy(tensors, item) for item in plan.objects if item.rank == rank]


def _copy(tensors: Mapping[str, Tensor], item: ObjectPlan) -> Staged:
    buffer = torch.empty(item.size_bytes, dtype=torch.uint8)
    for slot in item.slots:
        local, box = local_part(tensors[slot.name])
        part = local[slot.box.slices(box.offset)].contiguous()
        buffer[slot.begin : slot.end].copy_(part.reshape(-1).view(torch.uint8))
    return Staged(item, buffer.numpy().data)
