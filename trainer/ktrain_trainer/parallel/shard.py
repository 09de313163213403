"""Parameters, gradients and optimizer state sharded over ranks: over all (FSDP2), or over those of a group that holds one copy (HSDP)."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from ktrain.errors import SpecError
from ktrain.spec.parallel import Parallel as ParallelSpec
from ktrain_trainer.parallel.base import Votes
from ktrain_trainer.parallel.blocks import blocks
from ktrain_trainer.parallel.buffers import Buffers, broadcast
from ktrain_trainer.world import World


class Sharded:
    """FSDP2 with the votes in a small reduction of their own, overlapped with the last backward."""

    pads = True

    def __init__(self, model: nn.Module, world: World, spec: ParallelSpec) -> None:
        mesh = _mesh(world, spec)
        self.model = model
        self._world = world
        self._copy = mesh.get_group(mesh.ndim - 1)  # ranks that hold one copy of the model together
        broadcast([*model.parameters(), *model.buffers()], world.control)
        for block in blocks(model, spec.blocks):
            fully_shard(block, mesh=mesh, reshard_after_forward=spec.reshard_after_forward)
        fully_shard(model, mesh=mesh, reshard_after_forward=spec.reshard_after_forward)
        self._fsdp: FSDPModule = model  # type: ignore[assignment]  # fully_shard swaps the class
        self._params = [param for param in model.parameters() if param.requires_grad]
        self._buffers = Buffers(model, world.control)
        self._votes = torch.zeros(4, dtype=torch.float64)
        self._work: Any = None

    def begin(self) -> None:
        self._work = None
        self._buffers.begin()
        for param in self._params:
            param.grad = None

    @contextmanager
    def sync(self, *, is_last: bool) -> Iterator[None]:
        self._fsdp.set_requires_gradient_sync(is_last)
        self._fsdp.set_is_last_backward(is_last)
        yield

    def vote(self, votes: Votes) -> None:
        values = [votes.weight, votes.stop, votes.save, votes.remember, votes.long]
        self._votes = torch.tensor(values, dtype=torch.float64)
        self._work = dist.all_reduce(self._votes, group=self._world.control, async_op=True)

    def reduce(self) -> Votes:
        self._work.wait()
        # FSDP averages over ranks; the loop wants sums. Exact for powers of two, and one rounding otherwise.
        self.scale(float(self._world.size))
        return Votes(*self._votes.tolist())

    def norm(self) -> torch.Tensor:
        shards = self._shards()
        square = sum(
            (torch.linalg.vector_norm(shard).square() for shard in shards), torch.zeros((), device=self._world.device)
        )
        dist.all_reduce(square, group=self._copy)
        return square.sqrt()

    def scale(self, factor: torch.Tensor | float) -> None:
        torch._foreach_mul_(self._shards(), factor)

    def sum_of_shards(self, values: torch.Tensor) -> torch.Tensor:
        dist.all_reduce(values, group=self._copy)
        return values

    def forget_gathered(self) -> None:
        for module in self.model.modules():
            if isinstance(module, FSDPModule):
                module.reshard()

    def sync_buffers(self) -> None:
        self._buffers.sync()

    def _shards(self) -> list[torch.Tensor]:
        grads = (param.grad for param in self._params if param.grad is not None)
        return [grad.to_local() if isinstance(grad, DTensor) else grad for grad in grads]


def _mesh(world: World, spec: ParallelSpec) -> DeviceMesh:
    """All ranks in a row; with hsdp in rows of `shards` ranks, each with a whole copy."""
    if spec.strategy != "hsdp":
        return init_device_mesh(world.device.type, (world.size,))
    shards = spec.shards or world.local_size
    if world.size % shards:
        raise SpecError(
            f"spec.trainer.parallel: one copy is spread over {shards} ranks, of which {world.size} is no multiple; "
            "set parallel.shards to a divisor of every number of ranks that the job may have"
        )
    names = ("copies", "shards")
    return init_device_mesh(world.device.type, (world.size // shards, shards), mesh_dim_names=names)
