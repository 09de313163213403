"""The gang of ranks: who I am, on which device, and the small agreements that need no gradient traffic."""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final, Self

import torch
import torch.distributed as dist
from torch.distributed import Store, TCPStore  # type: ignore[attr-defined]

from ktrain.errors import PeerLostError, SpecError

START_TIMEOUT: Final = timedelta(minutes=10)  # until the slowest rank has imported, built and restored
STEP_TIMEOUT: Final = timedelta(minutes=30)  # the watchdogs act first; this is the last resort


@dataclass(frozen=True)
class World:
    """All ranks of one epoch of the gang."""

    rank: int
    size: int
    local_rank: int
    device: torch.device
    control: Any = None  # gloo process group for agreements; None with a single rank
    store: Any = None  # torch Store of this epoch, None without a gang
    local_size: int = 1  # ranks of this node

    @classmethod
    def alone(cls, device: str | None = None) -> Self:
        """One process without a process group."""
        return cls(0, 1, 0, torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu")))

    @classmethod
    def join(cls, env: Mapping[str, str] = os.environ) -> Self:
        """Meets the other ranks, by the environment that torchrun and ktrain's launcher give; alone without it."""
        size = int(env.get("WORLD_SIZE", "1"))
        if size == 1 and "MASTER_ADDR" not in env:
            return cls.alone()
        rank, local_rank = int(env["RANK"]), int(env.get("LOCAL_RANK", "0"))
        store = _store(env, rank, size)
        if size == 1:
            return cls(0, 1, local_rank, _device(local_rank), store=store)
        device = _device(local_rank)
        backend = "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=STEP_TIMEOUT)
        local_size = int(env.get("LOCAL_WORLD_SIZE", "1"))
        return cls(rank, size, local_rank, device, control=dist.group.WORLD, store=store, local_size=local_size)

    @property
    def is_first(self) -> bool:
        """Rank 0, who speaks for the job."""
        return self.rank == 0

    def sum(self, values: Sequence[float]) -> list[float]:
        """Sums over all ranks, in double precision; the same bits on every rank. A collective."""
        if self.size == 1:
            return list(values)
        tensor = torch.tensor(values, dtype=torch.float64)
        dist.all_reduce(tensor, group=self.control)
        return tensor.tolist()

    def agree(self, ok: bool) -> bool:
        """Whether all ranks say yes. A collective."""
        return self.sum([0.0 if ok else 1.0])[0] == 0.0

    def broadcast(self, tensors: Sequence[torch.Tensor]) -> None:
        """Rank 0's values for all. A collective."""
        if self.size > 1:
            for tensor in tensors:
                dist.broadcast(tensor, src=0)

    def share(self, document: Any) -> Any:
        """Rank 0's JSON document for all. A collective."""
        if self.size == 1:
            return document
        data = json.dumps(document).encode() if self.is_first else b""
        size = torch.tensor([len(data)])
        dist.broadcast(size, src=0, group=self.control)
        text = (
            torch.frombuffer(bytearray(data), dtype=torch.uint8)
            if self.is_first
            else torch.empty(int(size), dtype=torch.uint8)
        )
        dist.broadcast(text, src=0, group=self.control)
        return json.loads(bytes(text.tolist()))

    def leave(self) -> None:
        """Frees the process group without waiting for anybody."""
        if dist.is_initialized():
            dist.destroy_process_group()


def _store(env: Mapping[str, str], rank: int, size: int) -> Store:
    hosted_by_agent = env.get("TORCHELASTIC_USE_AGENT_STORE", "").lower() == "true"
    try:
        return TCPStore(
            env["MASTER_ADDR"],
            int(env["MASTER_PORT"]),
            size,
            is_master=rank == 0 and not hosted_by_agent,
            timeout=START_TIMEOUT,
            wait_for_workers=False,
        )
    except (RuntimeError, OSError) as error:
        raise PeerLostError(f"no store at {env['MASTER_ADDR']}:{env['MASTER_PORT']}: {error}") from error


def _device(local_rank: int) -> torch.device:
    if not torch.cuda.is_available():
        return torch.device("cpu")
    if local_rank >= torch.cuda.device_count():
        raise SpecError(
            f"rank needs GPU {local_rank}, but this node has {torch.cuda.device_count()}; lower spec.procsPerNode or ask for more GPUs"
        )
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    return device
