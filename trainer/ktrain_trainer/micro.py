"""How many samples a forward pass takes, where the job leaves that to ktrain: as many as the memory allows.

Found once, before the first step, and kept with the run: a restart has to cut its batches as the first start did, whatever
memory it finds. The size is part of the numbers (batch statistics, the order of sums).
"""

import json
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import torch
from torch import nn

from ktrain.errors import BuildError, Conflict, NotFound, StorageError
from ktrain.spec import Trainer
from ktrain.storage import Storage
from ktrain_trainer import rng
from ktrain_trainer.data import Fetch, to_device
from ktrain_trainer.numerics import autocast
from ktrain_trainer.plan import Micro
from ktrain_trainer.task import Task
from ktrain_trainer.world import World

log = logging.getLogger("ktrain")
KEY: Final = "state/micro.json"
LARGEST_ON_CPU: Final = 64  # a CPU's memory ends in a kill and not in an error, and its caches are full long before
MOMENTS: Final = 2  # of the optimizer, which come into being at the first step: held free meanwhile


def candidates(global_: int, most_ranks: int, *, limit: int | None = None) -> list[int]:
    """Sizes that divide the global batch and leave a micro-batch for every rank that the job may have, ascending."""
    top = min(global_ // most_ranks, limit or global_)
    return [size for size in range(1, top + 1) if global_ % size == 0]


def settle(
    spec: Trainer, world: World, storage: Storage | None, *, most_ranks: int, fits: Callable[[int], bool]
) -> int:
    """The kept size, else the largest that fits on every rank; BuildError when not even one sample does. A collective."""
    kept = world.share(_kept(storage) if world.is_first and storage else None)
    if kept is not None:
        return int(kept)
    limit = LARGEST_ON_CPU if world.device.type == "cpu" else None
    sizes = candidates(spec.batch.global_, most_ranks, limit=limit)
    found = _largest(sizes, fits)
    agreed = max((size for size in sizes if world.agree(size <= found)), default=0)
    if not agreed:
        raise BuildError(
            "not even one sample fits into this device's memory with the model", "spec.trainer.batch.micro"
        )
    taken = world.share(_keep(storage, agreed) if world.is_first and storage else agreed)
    log.info("batch.micro: auto is %d here, and stays so for this run", taken)
    return int(taken)


def with_micro(spec: Trainer, size: int) -> Trainer:
    """The spec as if the size had been written there."""
    return spec.model_copy(update={"batch": spec.batch.model_copy(update={"micro": size})})


def told(document: Mapping[str, Any], size: int) -> dict[str, Any]:
    """The job's document, or that of a notebook, as if the size had been written there."""
    if "trainer" not in document:
        return {**document, "spec": told(document["spec"], size)} if "spec" in document else dict(document)
    trainer = document["trainer"]
    return {**document, "trainer": {**trainer, "batch": {**trainer["batch"], "micro": size}}}


def probe(model: nn.Module, task: Task, fetch: Fetch, spec: Trainer, device: torch.device) -> Callable[[int], bool]:
    """Whether a pass there and back of so many samples fits; it leaves neither gradients nor changed buffers behind."""

    def fits(size: int) -> bool:
        count = len(fetch.source)
        samples = tuple(index % count for index in range(size))
        batch = to_device(fetch[Micro(0, 0, samples)].data, device)
        before = [buffer.clone() for buffer in model.buffers()]
        rng.seed_all(rng.key(spec.seed, rng.FORWARD, 0, 0))
        reserve: list[torch.Tensor] = []
        try:
            reserve += [torch.empty_like(param) for param in model.parameters() for _ in range(MOMENTS)]
            with autocast(spec.precision, device):
                out = task(model, batch)
            out.loss_sum.backward()  # type: ignore[no-untyped-call]
        except torch.OutOfMemoryError:
            return False
        finally:
            model.zero_grad(set_to_none=True)
            for buffer, old in zip(model.buffers(), before, strict=True):
                buffer.copy_(old)
            reserve.clear()
            if device.type == "cuda":
                torch.cuda.empty_cache()
        return True

    return fits


def _largest(sizes: Sequence[int], fits: Callable[[int], bool]) -> int:
    """By halving: a size that fits makes all smaller ones fit."""
    low, high = 0, len(sizes)
    while low < high:
        middle = (low + high) // 2
        if fits(sizes[middle]):
            low = middle + 1
        else:
            high = middle
    return sizes[low - 1] if low else 0


def _kept(storage: Storage) -> int | None:
    try:
        return int(json.loads(storage.get(KEY)[0])["micro"])
    except NotFound:
        return None
    except (ValueError, KeyError, TypeError) as error:
        raise StorageError(
            f"{storage.url}/{KEY} is damaged ({error}); write the size into spec.trainer.batch.micro"
        ) from error


def _keep(storage: Storage, size: int) -> int:
    """The size that counts: of two gangs that looked at once, the first one's."""
    try:
        storage.create(KEY, json.dumps({"micro": size}).encode())
    except Conflict:
        return _kept(storage) or size
    return size
