"""A job of two tasks on one model with heads, trained on any number of ranks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from ktrain_trainer import rng, task
from ktrain_trainer.assemble import Parts, assemble
from ktrain_trainer.data import Fetch, Loader
from ktrain_trainer.loop import train
from ktrain_trainer.place import Place, nowhere
from ktrain_trainer.run import Run
from ktrain_trainer.stop import StopFlag
from ktrain_trainer.tasks.multi_task import Collate, Mixed
from ktrain_trainer.world import World
from tests.ranks import Rank
from tests.trainer.mlp import Case

TASK: dict[str, Any] = {
    "use": "multi_task",
    "args": {"tasks": {"kind": {"weight": 0.7}, "size": {"loss": {"use": "mse"}, "weight": 0.3}}},
}


class TwoHeads(nn.Module):
    """A trunk with dropout, and a head per task."""

    def __init__(self) -> None:
        super().__init__()
        self.trunk = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Dropout(0.2))
        self.heads = nn.ModuleDict({"kind": nn.Linear(16, 3), "size": nn.Linear(16, 1)})

    def forward(self, inputs: Tensor, task: str) -> Tensor:
        """Outputs of one task."""
        found: Tensor = self.heads[task](self.trunk(inputs))
        return found


@dataclass(frozen=True)
class Kinds:
    """Points with a class; one task's data."""

    size: int = 50

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        inputs = torch.randn(6, generator=torch.Generator().manual_seed(index))
        return inputs, int(inputs[:3].argmax())


@dataclass(frozen=True)
class Sizes:
    """Points with a number; the other's."""

    size: int = 31

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        inputs = torch.randn(6, generator=torch.Generator().manual_seed(1000 + index))
        return inputs, inputs[:1] * 2


def mixed() -> Mixed:
    """Two of the one for each of the other."""
    return Mixed({"kind": Kinds(), "size": Sizes()}, {"kind": 2})


def multi(place: Place, world: World, steps: int, strategy: str = "auto") -> Run:
    """Trains to `steps`; resumes what is in the place."""
    spec = Case(
        steps=steps,
        strategy=strategy,
        extra={"batch": {"global": 12, "micro": 2}, "task": TASK, "schedule": {"name": "constant"}},
    ).spec
    rng.seed_all(rng.key(7, rng.INIT))
    loader = Loader(Fetch(mixed(), Collate(), 7))
    with StopFlag().listening() as stop:
        run = assemble(spec, Parts(TwoHeads(), task.make(spec.task), loader, loader), world, place, stop=stop)
        train(run)
        run.journal.close()
    return run


def multi_on_ranks(rank: Rank, steps: int, strategy: str) -> tuple[list[Tensor], Mapping[str, float]]:
    """As a rank of a gang, from the beginning."""
    rank.join_gloo()
    world = World(rank.rank, rank.size, rank.rank, torch.device("cpu"), torch.distributed.group.WORLD, rank.store)
    run = multi(nowhere(), world, steps, strategy)
    return params(run), run.progress.metrics


def params(run: Run) -> list[Tensor]:
    """All of them, whole."""
    found = (it.full_tensor() if hasattr(it, "full_tensor") else it for it in run.model.parameters())
    return [it.detach().clone() for it in found]
