"""The checkpoints of format 1 that must stay readable for ever: `python -m tests.checkpoint.goldens FOLDER` writes them."""

import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ktrain.history import Token, claim_epoch
from ktrain.storage import open_storage
from ktrain_trainer.checkpoint import Checkpointer, Options, Retention, World
from tests.checkpoint.models import Tiny, build, train
from tests.ranks import Rank, run_ranks, values

FOLDER = Path(__file__).parent / "golden"
META = {"progress": {"samples": 96}, "versions": {"torch": "2.x"}, "spec": None}
OPTIONS = Options(object_bytes=128, block_bytes=32)


class Kinds(nn.Module):
    """One tensor of each kind that format 1 has to hold."""

    def __init__(self, fill: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.arange(12.0).reshape(3, 4) * fill)
        self.tied = self.weight
        self.empty = nn.Parameter(torch.zeros(0, 2))
        self.register_buffer("bf16", torch.full((3,), fill, dtype=torch.bfloat16))
        self.register_buffer("int", torch.full((2, 2), fill, dtype=torch.int64))
        self.register_buffer("flags", torch.tensor([True, False, bool(fill)]))
        self.register_buffer("scalar", torch.tensor(float(fill)))


def write_single(url: str) -> None:
    """One process: two commits, the first with a metric."""
    model = Kinds(3)
    optimizer = Tiny(model.parameters())
    storage = open_storage(url)
    saver = _checkpointer(url, World(), claim_epoch(storage, attempt=1))
    saver.save(1, model, None, META, metric=1.5).result(30)
    for parameter in model.parameters():
        optimizer.state[parameter] = {
            "sum": torch.ones_like(parameter), "calls": 7, "worst": float("inf"), "clock": torch.tensor(7.0)
        }  # fmt: skip
    saver.save(2, model, optimizer, META, extra={"ema": torch.arange(5.0)}).result(30)
    saver.close()


def write_two_ranks(url: str) -> None:
    """Two ranks, sharded by FSDP2."""
    token = claim_epoch(open_storage(url), attempt=2)
    values(run_ranks("tests.checkpoint.goldens:save_sharded", 2, url, token))


def save_sharded(rank: Rank, url: str, token: Token) -> None:
    """One rank's part of it."""
    rank.join_gloo()
    model, optimizer = build("fsdp", "tiny", size=2)
    train_exactly(model, optimizer)
    world = World.from_store(rank.store, rank=rank.rank, size=2)
    saver = _checkpointer(url, world, token)
    saver.save(4, model, optimizer, META).result(30)
    saver.close()


def train_exactly(model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
    """Steps, and then values that no version of any library rounds differently."""
    train(model, optimizer, range(2))
    with torch.no_grad():
        for number, parameter in enumerate(model.parameters()):
            parameter.fill_(number + 0.5)
            for tensor in (it for it in optimizer.state.get(parameter, {}).values() if isinstance(it, torch.Tensor)):
                tensor.fill_(number + 0.25)


def _checkpointer(url: str, world: World, token: Token) -> Checkpointer:
    keep = Retention(last=9)
    return Checkpointer(
        open_storage(url), token, world, run="golden", retention=keep, clock=lambda: 1.8e9, options=OPTIONS
    )


def contents(folder: Path) -> dict[str, Any]:
    """All files below, by name."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()
    }


if __name__ == "__main__":
    write_single(f"{sys.argv[1]}/single")
    write_two_ranks(f"{sys.argv[1]}/two-ranks")
