"""Parameters, gradients and optimizer state sharded over ranks (FSDP2)."""

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard
from torch.distributed.tensor import DTensor

from ktrain.errors import SpecError
from ktrain.spec.trainer import Parallel as ParallelSpec
from ktrain_trainer.parallel.base import Votes
from ktrain_trainer.parallel.buffers import Buffers, broadcast
from ktrain_trainer.world import World


class Sharded:
    """FSDP2 with the votes in a small reduction of their own, overlapped with the last backward."""

    pads = True

    def __init__(self, model: nn.Module, world: World, spec: ParallelSpec) -> None:
        self.model = model
        self._world = world
        broadcast([*model.parameters(), *model.buffers()], world.control)
        mesh = init_device_mesh(world.device.type, (world.size,))
        for block in blocks(model, spec.blocks):
            fully_shard(block, mesh=mesh, reshard_after_forward=spec.reshard_after_forward)
        fully_shard(model, mesh=mesh, reshard_after_forward=spec.reshard_after_forward)
        self._fsdp: FSDPModule = model  # type: ignore[assignment]  # fully_shard swaps the class
        self._params = [param for param in model.parameters() if param.requires_grad]
        self._buffers = Buffers(model, world.control)
        self._votes = torch.zeros(3, dtype=torch.float64)
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
        self._votes = torch.tensor([votes.weight, votes.stop, votes.save], dtype=torch.float64)
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
        dist.all_reduce(square)
        return square.sqrt()

    def scale(self, factor: torch.Tensor | float) -> None:
        torch._foreach_mul_(self._shards(), factor)

    def sync_buffers(self) -> None:
        self._buffers.sync()

    def _shards(self) -> list[torch.Tensor]:
        grads = (param.grad for param in self._params if param.grad is not None)
        return [grad.to_local() if isinstance(grad, DTensor) else grad for grad in grads]


def blocks(model: nn.Module, wanted: str | Sequence[str]) -> list[nn.Module]:
    """The modules that are sharded one by one: by class name, or the class that repeats most in lists.

    torch gave up on a universal default (pytorch#73809): `auto` takes transformers' `_no_split_modules` when the model
    has it, else the class whose repeated instances hold the most parameters.
    """
    if wanted == "auto":
        wanted = getattr(model, "_no_split_modules", None) or _largest_repeated(model)
    found = [module for module in model.modules() if type(module).__name__ in wanted]
    missing = set(wanted) - {type(module).__name__ for module in found}
    if missing:
        raise SpecError(
            f"spec.trainer.parallel.blocks names {', '.join(sorted(missing))}, but the model has no module of that class"
        )
    return [module for module in found if module is not model]


def _largest_repeated(model: nn.Module) -> tuple[str, ...]:
    sizes: Counter[str] = Counter()
    for parent in model.modules():
        if isinstance(parent, nn.ModuleList | nn.Sequential):
            names = Counter(type(child).__name__ for child in parent)
            for child in parent:
                if names[type(child).__name__] > 1:
                    sizes[type(child).__name__] += sum(math.prod(param.shape) for param in child.parameters())
    return (sizes.most_common(1)[0][0],) if sizes and sizes.most_common(1)[0][1] else ()
