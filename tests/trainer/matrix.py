"""Each stateful entry of a registry, stopped in the middle and taken up again, at the same number of ranks and at another.

One group of two processes goes through all entries: starting processes would cost more than the training.
"""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from signal import SIGTERM
from typing import Any

import torch
import torch.distributed as dist
from torch._C._distributed_c10d import PrefixStore

from ktrain_trainer.world import World
from tests.ranks import Rank
from tests.trainer.mlp import Case, Ended, differences, train_in

STEPS, STOPPED = 8, 3
SMALL: Mapping[str, Any] = {
    "batch": {"global": 16, "micro": 8},
    "eval": {"maxSamples": 16},
    "checkpoint": {"every": "1000step"},
    "schedule": {"name": "constant"},
}


@dataclass(frozen=True)
class Entry:
    """What a case adds to the job file, and how it is spread."""

    extra: Mapping[str, Any]
    strategy: str = "auto"
    dtype: str = "float64"
    deep: bool = False

    def case(self, *, stops: bool = False) -> Case:
        """Of the whole run, or of one that is told to go in its middle."""
        return Case(
            steps=STEPS, dtype=self.dtype, strategy=self.strategy, deep=self.deep, extra={**SMALL, **self.extra},
            signal=SIGTERM if stops else None, at=STOPPED,
        )  # fmt: skip


@dataclass(frozen=True)
class Found:
    """How far the runs of one entry are from the run that nobody stopped."""

    stopped_at: int
    is_exact: bool  # the same number of ranks: parameters and metrics, bit for bit
    fewer: float  # stopped at two ranks, ended at one: largest difference of a parameter
    more: float  # stopped at one, ended at two
    moved: float  # how far the entry's whole run is from the weights that it began with


def exercise(rank: Rank, entries: Mapping[str, Entry], folder: str) -> dict[str, Found]:
    """As one of two ranks, all entries one after another."""
    rank.join_gloo()
    return {
        name: _one(rank, entry, f"{at}", Path(folder) / f"{at}") for at, (name, entry) in enumerate(entries.items())
    }


def _one(rank: Rank, entry: Entry, key: str, folder: Path) -> Found:
    gang = _Gang(rank, key)
    whole = train_in(gang.world(), entry.case(), None)
    stopped = train_in(gang.world(), entry.case(stops=True), str(folder / "two"))
    ended = _ended_alone(rank, entry, folder)
    resumed = train_in(gang.world(), entry.case(), str(folder / "two"))
    more = train_in(gang.world(), entry.case(), str(folder / "one"))
    assert stopped.is_stopping
    assert more.restored_step == resumed.restored_step == stopped.step
    return Found(
        stopped.step,
        is_exact=whole.metrics == resumed.metrics and all(map(torch.equal, whole.params, resumed.params)),
        fewer=max(differences(ended.params, whole.params)) if ended else 0.0,
        more=max(differences(more.params, whole.params)),
        moved=max(differences(whole.params, stopped.params)),
    )


def _ended_alone(rank: Rank, entry: Entry, folder: Path) -> Ended | None:
    """Rank 0 by itself: takes up a copy of what two ranks left, and leaves a run for two to take up."""
    ended = None
    if rank.rank == 0:
        shutil.copytree(folder / "two", folder / "copy")
        # Sharded over nobody: a run of one rank has no process group of its own.
        alone = Entry(entry.extra, "auto", entry.dtype, entry.deep)
        ended = train_in(World.alone("cpu"), alone.case(), str(folder / "copy"))
        train_in(World.alone("cpu"), alone.case(stops=True), str(folder / "one"))
    dist.barrier()
    return ended


@dataclass
class _Gang:
    """Worlds of both ranks, each with a store of its own: agreements are numbered from their world's beginning."""

    rank: Rank
    key: str
    made: int = 0

    def world(self) -> World:
        self.made += 1
        store = PrefixStore(f"{self.key}/{self.made}", self.rank.store)
        here = self.rank.rank
        return World(here, self.rank.size, here, torch.device("cpu"), dist.group.WORLD, store)
