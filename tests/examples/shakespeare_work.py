"""The Shakespeare model, trained for some steps as a rank of a gang."""

import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from ktrain.load import load_job
from ktrain_trainer import data, loop, rng, task
from ktrain_trainer.assemble import Parts, assemble
from ktrain_trainer.notebook import History
from ktrain_trainer.place import nowhere
from ktrain_trainer.stop import StopFlag
from ktrain_trainer.world import World
from tests.ranks import Rank

EXAMPLE = Path(__file__).parents[2] / "examples" / "shakespeare"
sys.path.insert(0, str(EXAMPLE))


def losses(rank: Rank, steps: int) -> list[float]:
    """The training curve, every step of it."""
    import shakespeare

    changes = [f"trainer.duration={steps}step", "trainer.batch.micro=3", "trainer.log.every=1step", "procsPerNode=1"]
    changes += ["trainer.schedule.warmup=10step", "trainer.eval.maxSamples=8"]
    spec = load_job(EXAMPLE / "job.yaml", changes).job.spec.trainer
    assert spec is not None
    rng.seed_all(rng.key(spec.seed, rng.INIT))
    model = shakespeare.GPT(**spec.model.args)
    train, val = (
        data.Loader(data.Fetch(shakespeare.CharBlocks(split), lambda batch: batch, spec.seed))
        for split in ("train", "val")
    )
    history = History()
    run = assemble(
        spec,
        Parts(model, task.make(spec.task), train, val),
        _world(rank),
        nowhere(),
        stop=StopFlag(),
        sinks=[history],
    )
    loop.train(run)
    return [record["loss"] for record in history.records if record["kind"] == "step"]


def _world(rank: Rank) -> World:
    if rank.size == 1:
        return World.alone("cpu")
    rank.join_gloo()
    group: Any = dist.group.WORLD
    return World(rank.rank, rank.size, rank.rank, torch.device("cpu"), group, rank.store)
