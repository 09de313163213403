"""How a tensor lies on the ranks: plain tensors are copies, DTensors are parts.

Importing DTensor takes as long as importing torch (sympy, most of it), and a rank that shards nothing need not wait for it.
"""

import sys
from collections import defaultdict
from collections.abc import Sequence
from itertools import product
from typing import TYPE_CHECKING, TypeGuard

import torch
from torch import Tensor

from ktrain.checkpoints.boxes import Box, Shape, whole
from ktrain.errors import CheckpointError
from ktrain_trainer.checkpoint.plan import Layout, Piece

if TYPE_CHECKING:
    from torch.distributed.tensor import DTensor, Placement


def is_sharded(tensor: Tensor) -> "TypeGuard[DTensor]":
    """Whether it is a DTensor; there is none before its module was imported."""
    module = sys.modules.get("torch.distributed.tensor")
    return module is not None and isinstance(tensor, module.DTensor)


def dtype_name(tensor: Tensor) -> str:
    """As the manifest writes it: `float32`."""
    return str(tensor.dtype).removeprefix("torch.")


def mark_of(tensor: Tensor) -> tuple[object, ...]:
    """What a layout follows from: tensors with equal marks have equal layouts. Cheap, also on thousands of ranks."""
    spread = (tensor.device_mesh, tensor.placements) if is_sharded(tensor) else ()
    return (tensor.dtype, tuple(tensor.shape), *spread)


def layout_of(tensor: Tensor, *, world_size: int, owner: int | None = None) -> Layout:
    """Which ranks hold which part; a plain tensor is on all ranks alike, unless one owner's copy is the one that counts."""
    shape = tuple(tensor.shape)
    if is_sharded(tensor):
        return Layout(dtype_name(tensor), shape, _pieces(tensor, shape))
    holders = tuple(range(world_size)) if owner is None else (owner,)
    pieces = (Piece(whole(shape), holders),) if tensor.numel() else ()
    return Layout(dtype_name(tensor), shape, pieces)


def local_part(tensor: Tensor) -> tuple[Tensor, Box]:
    """The bytes that this rank holds, sharing memory with the tensor, and which part of the whole they are."""
    if not is_sharded(tensor):
        return tensor.detach(), whole(tuple(tensor.shape))
    coordinate = tensor.device_mesh.get_coordinate()
    if coordinate is None:
        raise CheckpointError("this rank takes no part in the device mesh of a tensor that it should save or load")
    with torch.no_grad():
        local = tensor.to_local()
    box = box_at(tuple(tensor.shape), tuple(tensor.device_mesh.shape), coordinate, tensor.placements)
    assert tuple(local.shape) == box.size, (tuple(local.shape), box)
    return local.detach(), box


def box_at(shape: Shape, mesh: Shape, coordinate: Sequence[int], placements: "Sequence[Placement]") -> Box:
    """The part at one place of the mesh: each sharding dimension cuts what the ones before it left, like torch.chunk."""
    from torch.distributed.tensor import Replicate, Shard

    offset, size = [0] * len(shape), list(shape)
    for ranks, at, placement in zip(mesh, coordinate, placements, strict=True):
        if isinstance(placement, Replicate):
            continue
        if type(placement) is not Shard:
            raise CheckpointError(f"a tensor is placed as {placement}, ktrain can store Shard and Replicate only")
        dim = placement.dim % len(shape)
        chunk = -(-size[dim] // ranks)
        begin = min(at * chunk, size[dim])
        offset[dim] += begin
        size[dim] = min(chunk, size[dim] - begin)
    return Box(tuple(offset), tuple(size))


def _pieces(tensor: "DTensor", shape: Shape) -> tuple[Piece, ...]:
    mesh = tuple(tensor.device_mesh.shape)
    ranks = tensor.device_mesh.mesh.flatten().tolist()
    holders: dict[Box, list[int]] = defaultdict(list)
    for rank, coordinate in zip(ranks, product(*map(range, mesh)), strict=True):
        box = box_at(shape, mesh, coordinate, tensor.placements)
        if box.numel:
            holders[box].append(rank)
    return tuple(Piece(box, tuple(who)) for box, who in holders.items())
