"""Trainings of two ranks with the checks of `trainer.debug` on, and with a NaN that one rank alone sees."""

import math
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import nn
from torch.utils.data import default_collate

from ktrain.errors import NonFiniteError
from ktrain.spec import Trainer
from ktrain_trainer import loop, task
from ktrain_trainer.assemble import Parts, assemble
from ktrain_trainer.data import Fetch, Loader
from ktrain_trainer.notebook import History, seed_model
from ktrain_trainer.place import Place, claim, nowhere
from ktrain_trainer.run import Run
from ktrain_trainer.stop import StopFlag
from ktrain_trainer.world import World
from tests.ranks import Rank

POISONED = 13  # in the second micro-batch of the second step: rank 1's


class Points:
    """Sixty-four points on a line; remembers which were asked for."""

    def __init__(self, poison: int | None = None) -> None:
        self.inputs = torch.randn(64, 4, generator=torch.Generator().manual_seed(0))
        self.targets = self.inputs.sum(1, keepdim=True)
        self.seen: list[int] = []
        if poison is not None:
            self.inputs[poison] = math.nan

    def __len__(self) -> int:
        return 64

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        self.seen.append(index)
        return self.inputs[index], self.targets[index]


class Forgetful(nn.Module):
    """Has a layer that forward() does not use."""

    def __init__(self) -> None:
        super().__init__()
        self.used = nn.Linear(4, 1)
        self.unused = nn.Linear(4, 1)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.used(inputs)
        return found


def work(rank: Rank, folder: str) -> dict[str, dict[str, Any]]:
    """By strategy: what was skipped, what was told at the stop, what was seen of the gradients."""
    rank.join_gloo()
    world = World(rank.rank, rank.size, rank.rank, torch.device("cpu"), torch.distributed.group.WORLD, rank.store)
    return {strategy: _work(world, strategy, Path(folder) / strategy) for strategy in ("ddp", "fsdp2")}


def _work(world: World, strategy: str, folder: Path) -> dict[str, Any]:
    skipping = _run(world, strategy, nowhere(), History(), poison=POISONED, nonfinite="skip")
    loop.train(skipping)
    params = [value for param in skipping.model.parameters() for value in _whole(param).flatten().tolist()]
    history = History()
    place = claim(str(folder), "probed", world, fresh=True, document={})
    debugged = _run(world, strategy, place, history, debug={"checkGrads": True, "dumpBatch": 3})
    loop.train(debugged)
    return {
        "skip": (skipping.progress.skipped, params),
        "stop": _stopped(world, strategy),
        "looks": [record for record in history.records if record["kind"] == "grads"],
    }


def _stopped(world: World, strategy: str) -> str:
    try:
        loop.train(_run(world, strategy, nowhere(), History(), poison=POISONED))
    except NonFiniteError as error:
        return str(error)
    return "it went on"


def _run(
    world: World, strategy: str, place: Place, history: History, *, poison: int | None = None, **changed: Any
) -> Run:
    here = {"use": "tests:given"}
    spec = Trainer.model_validate(
        {
            "duration": "4step", "model": here, "data": {"train": here, "shuffle": False},
            "batch": {"global": 8, "micro": 4}, "optim": {"name": "adamw", "lr": 0.01},
            "parallel": {"strategy": strategy}, "log": {"every": "2step"}, **changed,
        }
    )  # fmt: skip
    seed_model(3)
    loss = task.Supervised(F.mse_loss, {}, over_classes=False)
    parts = Parts(Forgetful(), loss, Loader(Fetch(Points(poison), default_collate, 3)), None)
    return assemble(spec, parts, world, place, stop=StopFlag(), sinks=[history])


def _whole(param: torch.Tensor) -> torch.Tensor:
    full = getattr(param, "full_tensor", None)
    return (full() if full else param).detach()
