"""torch.distributed.checkpoint over ktrain's storage: anyone's state dicts, any number of ranks, never a mixed step."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save

from ktrain.checkpoints.verify import verify
from ktrain.errors import CheckpointError
from ktrain.history import read_head
from ktrain.storage import open_storage
from ktrain_trainer.dcp import LoadPlanner, Reader, Writer
from tests.checkpoint.models import reference
from tests.checkpoint.test_damage import flip
from tests.checkpoint.work import SMALL
from tests.ranks import run_ranks, values

WORK = "tests.checkpoint.dcp_work"
pytestmark = pytest.mark.filterwarnings("ignore:torch.distributed is disabled:UserWarning")


@pytest.mark.parametrize(("mode", "size"), [("plain", 1), ("plain", 2), ("fsdp", 2)])
def test_what_some_ranks_save_others_restore(tmp_path: Path, mode: str, size: int) -> None:
    values(run_ranks(f"{WORK}:save", size, str(tmp_path), mode, [2, 3]))
    for other, ranks in (("plain", 1), ("fsdp", 3)):
        found = values(run_ranks(f"{WORK}:restore", ranks, str(tmp_path), other))
        assert found == [(reference(3), (3, {"b": 1.5, "words": "a b"}))] * ranks
    assert values(run_ranks(f"{WORK}:restore", 1, str(tmp_path), "plain", 2))[0][0] == reference(2)


def test_what_is_saved_in_the_background_is_the_state_of_the_call(tmp_path: Path) -> None:
    values(run_ranks(f"{WORK}:save_in_background", 2, str(tmp_path)))
    assert values(run_ranks(f"{WORK}:restore", 2, str(tmp_path), "fsdp"))[0][0] == reference(2)


def test_a_step_that_is_saved_again_and_fails_leaves_the_first(tmp_path: Path) -> None:
    """Stock writers left the old metadata with some of the new shards: rows of two steps in one tensor."""
    said = values(run_ranks(f"{WORK}:save_again_and_fail", 2, str(tmp_path)))
    assert all("the disk is full" in each for each in said)
    assert values(run_ranks(f"{WORK}:restore", 2, str(tmp_path), "fsdp"))[0][0] == reference(2)


def test_a_commit_is_whole_for_the_other_commands(tmp_path: Path) -> None:
    url = str(tmp_path)
    save(some(1.0), storage_writer=Writer(url, sizes=SMALL), checkpoint_id="7")
    head = read_head(open_storage(url))
    assert head is not None
    assert verify(open_storage(url), head.commits[-1], on_bytes=lambda _: None) == []


def test_damage_is_found_before_anything_changes(tmp_path: Path) -> None:
    url = str(tmp_path)
    save(some(1.0), storage_writer=Writer(url, sizes=SMALL), checkpoint_id="7")
    said = flip(next(tmp_path.glob("*/step-*")))
    state = some(99.0)
    with pytest.raises(CheckpointException, match=said):
        load(state, storage_reader=Reader(url), planner=LoadPlanner())
    assert all(torch.equal(state[name], tensor) for name, tensor in some(99.0).items())


def test_an_older_writer_commits_no_more(tmp_path: Path) -> None:
    url = str(tmp_path)
    old = Writer(url, sizes=SMALL)
    save(some(2.0), storage_writer=Writer(url, sizes=SMALL), checkpoint_id="1")
    with pytest.raises(CheckpointException, match="has taken over"):
        save(some(1.0), storage_writer=old, checkpoint_id="1")
    state = some(0.0)
    load(state, storage_reader=Reader(url), planner=LoadPlanner())
    assert torch.equal(state["a"], some(2.0)["a"])


def test_a_writer_travels_to_another_process(tmp_path: Path) -> None:
    url = str(tmp_path)
    writer = Writer(url, sizes=SMALL)
    save(some(1.0), storage_writer=writer, checkpoint_id="1")
    save(some(2.0), storage_writer=pickle.loads(pickle.dumps(writer)), checkpoint_id="2")
    head = read_head(open_storage(url))
    assert head is not None
    assert [commit.step for commit in head.commits] == [1, 2]


def test_what_cannot_be_is_told(tmp_path: Path) -> None:
    url = str(tmp_path)
    with pytest.raises(CheckpointError, match="checkpoint_id is last; ktrain's writer takes the step, such as '100'"):
        save(some(1.0), storage_writer=Writer(url), checkpoint_id="last")
    with pytest.raises(CheckpointError, match="has no checkpoint"):
        Reader(url)
    save(some(1.0), storage_writer=Writer(url), checkpoint_id="3")
    with pytest.raises(CheckpointError, match="has no checkpoint of step 4; it has 3"):
        load(some(1.0), storage_reader=Reader(url, step=4))


class Bomb:
    def __reduce__(self) -> Any:
        return pytest.fail, ("code from a checkpoint was run",)


def test_no_code_from_a_checkpoint_runs(tmp_path: Path) -> None:
    url = str(tmp_path)
    save({"bomb": Bomb()}, storage_writer=Writer(url), checkpoint_id="1")
    with pytest.raises(CheckpointException, match="Weights only load failed"):
        load({"bomb": 0}, storage_reader=Reader(url), planner=LoadPlanner())


def some(value: float) -> dict[str, Tensor]:
    """Tensors of several types, one without elements and one without dimensions."""
    return {
        "a": torch.full((40, 9), value),
        "b": torch.full((7,), value, dtype=torch.bfloat16),
        "c": torch.tensor(value, dtype=torch.float64),
        "d": torch.zeros(0, 4),
        "e": torch.tensor([True, False, True]),
    }
