"""Checkpoints of format 1 stay readable for ever, and the same state is still written as the same bytes."""

import re
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ktrain.history import Token
from ktrain.storage import open_storage
from ktrain_trainer.checkpoint import Checkpointer, World, init_from
from tests.checkpoint.goldens import FOLDER, META, Kinds, contents, train_exactly, write_single, write_two_ranks
from tests.checkpoint.models import Tiny, build, digest, digests
from tests.ranks import Rank, run_ranks, values


def reader(name: str, world: World | None = None) -> Checkpointer:
    return Checkpointer(open_storage(str(FOLDER / name)), Token(9, 9), world or World(), run="golden")


def test_what_one_process_wrote_is_read() -> None:
    model = Kinds(0)
    optimizer = Tiny(model.parameters())
    extra = {"ema": torch.zeros(5)}
    restored = reader("single").restore(model, optimizer, extra=extra)
    assert restored is not None
    assert (restored.step, restored.meta) == (2, META)
    assert digests(model, None) == digests(Kinds(3), None)
    assert model.tied is model.weight
    assert extra["ema"].tolist() == [0, 1, 2, 3, 4]
    state = optimizer.state[model.weight]
    assert isinstance(state["sum"], Tensor)
    assert state["sum"].eq(1).all()
    assert (state["calls"], state["worst"], state["clock"].item()) == (7, float("inf"), 7.0)


def test_an_earlier_commit_is_read_for_its_weights() -> None:
    model = Kinds(0)
    commit = init_from(model, f"{FOLDER / 'single'}@1", world=World())
    assert (commit.step, commit.metric, commit.created) == (1, 1.5, 1.8e9)
    assert digests(model, None) == digests(Kinds(3), None)


def wanted_of_two_ranks() -> dict[str, str]:
    model, optimizer = build("plain", "tiny")
    train_exactly(model, optimizer)
    return digests(model, optimizer)


def test_what_two_ranks_wrote_is_read_by_one() -> None:
    model, optimizer = build("plain", "tiny", start=99.0)
    restored = reader("two-ranks").restore(model, optimizer)
    assert restored is not None
    assert (restored.step, restored.meta) == (4, META)
    assert digests(model, optimizer) == wanted_of_two_ranks()


def test_the_program_in_the_documentation_reads_it(monkeypatch: pytest.MonkeyPatch) -> None:
    page = (Path(__file__).parents[2] / "docs/checkpoint-format.md").read_text()
    (program,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    monkeypatch.chdir(FOLDER / "two-ranks")
    found: dict[str, Any] = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # the page is short rather than tidy
        exec(program, found)
    assert digest(torch.from_numpy(found["tensor"])) == wanted_of_two_ranks()["model.embed.weight"]


def restore_sharded(rank: Rank) -> dict[str, str]:
    rank.join_gloo()
    model, optimizer = build("fsdp", "tiny", size=rank.size, start=99.0)
    world = World.from_store(rank.store, rank=rank.rank, size=rank.size)
    assert reader("two-ranks", world).restore(model, optimizer) is not None
    return digests(model, optimizer)


def test_what_two_ranks_wrote_is_read_by_three() -> None:
    found = values(run_ranks("tests.checkpoint.test_golden:restore_sharded", 3))
    assert found == [wanted_of_two_ranks()] * 3


def test_the_same_state_is_written_as_the_same_bytes(tmp_path: Path) -> None:
    write_single(f"{tmp_path}/single")
    write_two_ranks(f"{tmp_path}/two-ranks")
    assert contents(tmp_path) == contents(FOLDER)
