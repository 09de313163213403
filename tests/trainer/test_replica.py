"""`run.replicate`: torch's DistributedDataParallel, except that its sums never change their order."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from ktrain_trainer.parallel.replica import Replica
from tests.ranks import Rank, run_ranks, values


class Branches(nn.Module):
    """Two branches and one that is never taken."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.never = nn.Linear(4, 3), nn.Linear(4, 3), nn.Linear(4, 3)
        self.norm = nn.BatchNorm1d(3)

    def forward(self, x: torch.Tensor, *, is_left: bool) -> Any:
        return self.norm((self.left if is_left else self.right)(x)).sin().mean()


def make(rank: Rank, wrapper: str) -> Any:
    torch.manual_seed(rank.rank)  # rank 0's parameters count
    model = Branches().double()
    if wrapper == "ddp":
        return DistributedDataParallel(model, find_unused_parameters=True)
    return Replica(model, torch.distributed.group.WORLD, rank.size)


def steps(rank: Rank, wrapper: str, *, takes: str, micros: int) -> list[Any]:
    """Three steps of SGD; the gradients of the last, the parameters and the buffers."""
    rank.join_gloo()
    replica = make(rank, wrapper)
    optimizer = torch.optim.SGD(replica.parameters(), lr=0.1, weight_decay=0.1)
    noise = torch.Generator().manual_seed(100 + rank.rank)
    is_left = takes == "left" or (takes == "own" and rank.rank == 0)
    for _ in range(3):
        optimizer.zero_grad()
        for micro in range(micros):
            x = torch.randn(8, 4, generator=noise, dtype=torch.float64)
            if micro < micros - 1:
                with replica.no_sync():
                    replica(x, is_left=is_left).backward()
            else:
                replica(x, is_left=is_left).backward()
        optimizer.step()
    inner = replica.module
    grads = [None if param.grad is None else param.grad.clone() for param in inner.parameters()]
    return [grads, [param.detach() for param in inner.parameters()], list(inner.buffers())]


@pytest.mark.parametrize(
    ("takes", "micros"), [("left", 1), ("own", 1), ("left", 3), ("own", 2)], ids=["one", "split", "added", "both"]
)
def test_it_computes_what_ddp_does(takes: str, micros: int) -> None:
    ours = values(run_ranks("tests.trainer.test_replica:work", 3, "ours", takes, micros))
    theirs = values(run_ranks("tests.trainer.test_replica:work", 3, "ddp", takes, micros))
    for mine, other in zip(ours, theirs, strict=True):
        assert [grad is None for grad in mine[0]] == [grad is None for grad in other[0]]
        for one, two in zip([*mine[0], *mine[1]], [*other[0], *other[1]], strict=True):
            assert one is two or torch.allclose(one, two, rtol=0, atol=1e-12)


def test_buffers_are_rank_0s_after_each_step() -> None:
    ours = values(run_ranks("tests.trainer.test_replica:work", 2, "ours", "left", 1))
    assert all(torch.equal(one, two) for one, two in zip(ours[0][2], ours[1][2], strict=True))


def test_alone_it_changes_nothing() -> None:
    model = Branches().double()
    replica = Replica(model, None, 1)
    replica(torch.ones(2, 4, dtype=torch.float64), is_left=True).backward()
    assert model.left.weight.grad is not None
    assert model.right.weight.grad is None


def work(rank: Rank, wrapper: str, takes: str, micros: int) -> list[Any]:
    return steps(rank, wrapper, takes=takes, micros=micros)
