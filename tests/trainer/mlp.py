"""The MLP of the exactness tests, trained for real on any number of ranks, and ways to disturb it at a chosen point.

16-64-1 with dropout 0.2, AdamW 1e-2, global batch 32 in micro-batches of 8, shuffled: what the promises are made of.
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from signal import Signals
from typing import Any

import torch
from torch import nn
from torch.utils.data import default_collate

from ktrain.history import Token, begin_run, claim_epoch, current_run, read_head
from ktrain.spec import Trainer
from ktrain.storage import Storage, open_storage, scoped
from ktrain.storage.base import Data
from ktrain_trainer import loop, rng, task
from ktrain_trainer.assemble import Parts, assemble
from ktrain_trainer.data import Fetch, Loader
from ktrain_trainer.place import Place, nowhere
from ktrain_trainer.run import Run
from ktrain_trainer.stop import StopFlag
from ktrain_trainer.world import World
from tests.ranks import Rank

NUM_SAMPLES = 200  # not a multiple of the batch: epochs end inside steps


@dataclass(frozen=True)
class Case:
    """One training run, and where it is disturbed."""

    steps: int = 60
    duration: str | None = None
    dtype: str = "float32"
    strategy: str = "auto"
    signal: Signals | None = None
    on: str = "step"  # of the disturbance: "step", "eval" or "save"
    at: int = 0  # step, or number of the evaluation's pass, or number of the object written
    by: int = 0  # rank
    batch_norm: bool = False
    deep: bool = False  # two blocks with dropout, between two layers
    extra: dict[str, Any] = field(default_factory=dict)

    @property
    def spec(self) -> Trainer:
        """The job's trainer section."""
        here = {"use": "tests:given"}
        return Trainer.model_validate(
            {
                "seed": 7,
                "duration": self.duration or f"{self.steps}step",
                "model": here,
                "data": {"train": here, "val": here},
                "batch": {"global": 32, "micro": 8},
                "optim": {"lr": 1e-2, "clip": {"norm": 1.0}},
                "schedule": {"name": "cosine", "warmup": "10step"},
                "parallel": {"strategy": self.strategy},
                "eval": {"every": "20step"},
                "checkpoint": {"every": "7step"},
                **self.extra,
            }
        )


@dataclass(frozen=True)
class Ended:
    """What a rank found at the end."""

    step: int
    is_stopping: bool
    params: list[torch.Tensor]
    buffers: list[torch.Tensor]
    seen: Counter[int]
    metrics: dict[str, float]
    restored_step: int


@dataclass(frozen=True)
class Points:
    """y = 2 x0 + x1²; remembers which samples were asked for."""

    inputs: torch.Tensor
    targets: torch.Tensor
    seen: Counter[int] = field(default_factory=Counter)

    def __len__(self) -> int:
        return NUM_SAMPLES

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        self.seen[index] += 1
        return self.inputs[index], self.targets[index]


def points(dtype: torch.dtype) -> Points:
    """The same on every rank."""
    inputs = torch.randn(NUM_SAMPLES, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64).to(dtype)
    return Points(inputs, 2 * inputs[:, :1] + inputs[:, 1:2] ** 2)


class Block(nn.Sequential):
    """What repeats in a deep model."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(64, 64), nn.ReLU(), nn.Dropout(0.2))


def model(case: Case) -> nn.Module:
    """The MLP, drawn from the seed."""
    rng.seed_all(rng.key(7, rng.INIT))
    if case.deep:
        deep = nn.Sequential(nn.Linear(16, 64), Block(), Block(), nn.Linear(64, 1))
        return deep.to(getattr(torch, case.dtype))
    norm = [nn.BatchNorm1d(64)] if case.batch_norm else []
    mlp = nn.Sequential(nn.Linear(16, 64), *norm, nn.ReLU(), nn.Dropout(0.2), nn.Linear(64, 1))
    return mlp.to(getattr(torch, case.dtype))


@dataclass
class Disturbed:
    """The task, with a signal to its own process at the chosen point."""

    case: Case
    rank: int
    inner: task.Supervised
    run: Run | None = None
    evals: int = 0

    def __call__(self, model: nn.Module, batch: Any) -> task.Out:
        """As the inner task."""
        assert self.run is not None
        if torch.is_grad_enabled():
            if self.run.progress.step == self.case.at:
                self.hit("step")
        else:
            self.evals += 1
            if self.evals == self.case.at:
                self.hit("eval")
        return self.inner(model, batch)

    def hit(self, on: str) -> None:
        """Sends the signal if this is the place."""
        if self.case.signal is not None and (on, self.rank) == (self.case.on, self.case.by):
            os.kill(os.getpid(), self.case.signal)


@dataclass
class DisturbedStorage:
    """A run's storage that sends a signal to its own process while the n-th object is being written."""

    inner: Storage
    disturbed: Disturbed
    creates: int = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)

    def create(self, key: str, data: Data) -> str:
        """As the inner storage."""
        self.creates += 1
        if self.creates == self.disturbed.case.at:
            self.disturbed.hit("save")
        return self.inner.create(key, data)


def train(rank: Rank | None, case: Case, folder: str | None) -> Ended:
    """Trains as this rank of its gang; resumes what is in the folder."""
    return train_in(world_of(rank), case, folder)


def train_in(world: World, case: Case, folder: str | None) -> Ended:
    """The same in a world that is there already."""
    source = points(getattr(torch, case.dtype))
    loader = Loader(Fetch(source, default_collate, 7))
    held_out = Loader(Fetch(points(getattr(torch, case.dtype)), default_collate, 7))
    disturbed = Disturbed(case, world.rank, task.Supervised(nn.functional.mse_loss, {}, over_classes=False))
    where = _place(world, folder, disturbed) if folder else nowhere()
    with StopFlag().listening() as stop:
        run = assemble(case.spec, Parts(model(case), disturbed, loader, held_out), world, where, stop=stop)
        disturbed.run = run
        loop.train(run)
        run.journal.close()
    return Ended(
        run.progress.step,
        run.is_stopping,
        [_whole(param) for param in run.model.parameters()],
        [_whole(buffer) for buffer in run.model.buffers()],
        source.seen,
        run.progress.metrics,
        run.meter.snapshot.restored_step,
    )


def world_of(rank: Rank | None) -> World:
    """The gang as the trainer sees it; joins it."""
    if rank is None or rank.size == 1:
        return World.alone("cpu")
    rank.join_gloo()
    return World(rank.rank, rank.size, rank.rank, torch.device("cpu"), torch.distributed.group.WORLD, rank.store)


def _place(world: World, folder: str, disturbed: Disturbed) -> Place:
    job = open_storage(folder)
    taken = {}
    if world.is_first:
        run = current_run(job) or begin_run(job, {})
        head = read_head(scoped(job, run))
        taken = {"run": run, "epoch": claim_epoch(scoped(job, run), attempt=head.attempt if head else 1).epoch}
    taken = world.share(taken)
    storage = DisturbedStorage(scoped(job, taken["run"]), disturbed)
    return Place(storage, Token(1, taken["epoch"]), taken["run"], Path(folder))


def _whole(tensor: torch.Tensor) -> torch.Tensor:
    full = getattr(tensor, "full_tensor", None)
    return (full() if full else tensor).detach().clone()


def differences(left: list[torch.Tensor], right: list[torch.Tensor]) -> Iterator[float]:
    """Largest absolute difference of each pair."""
    return ((one.double() - other.double()).abs().max().item() for one, other in zip(left, right, strict=True))
