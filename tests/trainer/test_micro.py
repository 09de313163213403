"""batch.micro: auto is the largest size that fits on all ranks, found once."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import default_collate

from ktrain.errors import BuildError
from ktrain.spec import Trainer
from ktrain.storage import open_storage
from ktrain_trainer import micro
from ktrain_trainer.data import Fetch
from ktrain_trainer.task import Supervised
from ktrain_trainer.world import World
from tests.ranks import Rank, run_ranks, values
from tests.trainer.mlp import Case, model, points, world_of
from tests.trainer.test_fit import fit, net

HERE = {"use": "tests:given"}


def spec(micro_: Any = "auto", global_: int = 96, **rest: Any) -> Trainer:
    return Trainer.model_validate(
        {
            "duration": "4step",
            "model": HERE,
            "data": {"train": HERE},
            "batch": {"global": global_, "micro": micro_},
            "optim": {"lr": 0.01},
            **rest,
        }
    )


class Hungry(nn.Module):
    """Has memory for so many samples, and says so as torch does."""

    def __init__(self, room: int) -> None:
        super().__init__()
        self.room = room
        self.inner = nn.Sequential(nn.Linear(16, 8), nn.BatchNorm1d(8), nn.Linear(8, 1))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if len(inputs) > self.room:
            raise torch.OutOfMemoryError(f"{len(inputs)} samples")
        out: torch.Tensor = self.inner(inputs)
        return out


def settle(room: int, *, storage: Any = None, world: World | None = None, most_ranks: int = 1) -> int:
    here = world or World.alone("cpu")
    task = Supervised(nn.functional.mse_loss, {}, over_classes=False)
    fetch = Fetch(points(torch.float32), default_collate, 7)
    fits = micro.probe(Hungry(room), task, fetch, spec(), here.device)
    return micro.settle(spec(), here, storage, most_ranks=most_ranks, fits=fits)


@pytest.mark.parametrize(("room", "expected"), [(1000, 48), (48, 48), (47, 32), (5, 4), (2, 2)])
def test_the_largest_divisor_that_fits(room: int, expected: int) -> None:
    assert settle(room) == expected


def test_every_rank_that_the_job_may_have_gets_a_micro_batch() -> None:
    assert settle(1000, most_ranks=8) == 12


def test_a_model_without_room_for_one_sample_is_told() -> None:
    with pytest.raises(BuildError, match="not even one sample fits"):
        settle(0)


def test_it_is_found_once(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    assert settle(24, storage=storage) == 24
    assert settle(1000, storage=storage) == 24


def settle_as(rank: Rank, rooms: list[int]) -> int:
    return settle(rooms[rank.rank], world=world_of(rank))


def test_the_rank_with_the_least_room_decides() -> None:
    assert values(run_ranks("tests.trainer.test_micro:settle_as", 2, [100, 20])) == [16, 16]


def test_trying_leaves_nothing_behind() -> None:
    case = Case(batch_norm=True)
    tried = model(case)
    before = {name: value.clone() for name, value in tried.state_dict().items()}
    task = Supervised(nn.functional.mse_loss, {}, over_classes=False)
    fits = micro.probe(tried, task, Fetch(points(torch.float32), default_collate, 7), spec(), torch.device("cpu"))
    assert fits(8)
    assert all(torch.equal(value, before[name]) for name, value in tried.state_dict().items())
    assert all(param.grad is None for param in tried.parameters())


def two_legs(folder: Path, *, first: Any, then: Any, kept: bytes | None = None) -> list[torch.Tensor]:
    """Six steps and six more; dropout makes each size another run."""
    fit(net(), batch={"global": 16, "micro": first}, duration="6step", storage=str(folder))
    if kept:
        storage = open_storage(str(folder))
        (key,) = [it.key for it in storage.list() if it.key.endswith(micro.KEY)]
        storage.put(key, kept)
    ended = net()
    fit(ended, batch={"global": 16, "micro": then}, duration="12step", storage=str(folder))
    return list(ended.parameters())


def test_a_run_goes_on_with_the_size_of_its_first_start(tmp_path: Path) -> None:
    found = two_legs(tmp_path / "found", first="auto", then="auto")
    assert all(map(torch.equal, found, two_legs(tmp_path / "16", first=16, then=16)))
    other = two_legs(tmp_path / "other", first="auto", then="auto", kept=b'{"micro": 8}')
    assert all(map(torch.equal, other, two_legs(tmp_path / "8", first=16, then=8)))
    assert not any(map(torch.equal, other, found))


def test_sharded_models_have_to_say_it() -> None:
    with pytest.raises(ValueError, match=r"batch\.micro is auto, but parallel\.strategy is fsdp2"):
        spec(parallel={"strategy": "fsdp2"})


def test_the_document_of_the_run_says_the_number() -> None:
    document = {"spec": {"trainer": {"batch": {"global": 96, "micro": "auto"}, "seed": 0}}}
    assert micro.with_micro(spec(), 24).batch.micro == 24
    assert micro.told(document, 24) == {"spec": {"trainer": {"batch": {"global": 96, "micro": 24}, "seed": 0}}}
