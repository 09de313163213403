"""A rank that was done early waits for the others, and for how long is measured."""

import functools
import time
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import default_collate

from ktrain.snapshot import Snapshot
from ktrain_trainer import loop, task
from ktrain_trainer.assemble import Parts, assemble
from ktrain_trainer.data import Fetch, Loader
from ktrain_trainer.place import nowhere
from ktrain_trainer.script import ScriptRun
from ktrain_trainer.stop import StopFlag
from tests.ranks import Rank, run_ranks, values
from tests.trainer import mlp

STEPS, PAUSE = 8, 0.06  # seconds that rank 1 works longer at each step


@dataclass(frozen=True)
class Slow:
    """The task, slower; two micro-batches make a step."""

    inner: task.Supervised
    seconds: float

    def __call__(self, model: nn.Module, batch: Any) -> task.Out:
        """As the inner task."""
        time.sleep(self.seconds / 2)
        return self.inner(model, batch)


def by_the_loop(rank: Rank) -> Snapshot:
    case = mlp.Case(steps=STEPS, extra={"schedule": {"name": "constant"}})
    slow = Slow(task.Supervised(nn.functional.mse_loss, {}, over_classes=False), PAUSE * rank.rank)
    loader = Loader(Fetch(mlp.points(torch.float32), default_collate, 7))
    parts = Parts(mlp.model(case), slow, loader, None)
    run = assemble(case.spec, parts, mlp.world_of(rank), nowhere(), stop=StopFlag())
    loop.train(run)
    return run.meter.snapshot


def by_a_script(rank: Rank) -> Snapshot:
    run = ScriptRun(mlp.world_of(rank), nowhere(), StopFlag(), sender=None)
    replica = run.replicate(nn.Linear(4, 1))
    for _ in range(STEPS):
        time.sleep(PAUSE * rank.rank)
        replica(torch.ones(2, 4)).sum().backward()
    return run._meter.snapshot


@functools.cache
def measured(work: Any) -> list[Snapshot]:
    return values(run_ranks(f"{__name__}:{work.__name__}", 2))


@pytest.mark.parametrize("work", [by_the_loop, by_a_script], ids=["loop", "script"])
def test_the_one_that_waits_is_not_the_one_that_is_waited_for(work: Any) -> None:
    quick, slow = measured(work)
    assert quick.peer_wait_seconds > 0.7 * STEPS * PAUSE
    assert slow.peer_wait_seconds < 0.5 * quick.peer_wait_seconds


def test_waiting_is_a_part_of_the_step() -> None:
    quick, slow = measured(by_the_loop)
    busy = [it.step_seconds_sum - it.peer_wait_seconds for it in (quick, slow)]
    assert busy[0] > 0
    assert busy[1] > STEPS * PAUSE
