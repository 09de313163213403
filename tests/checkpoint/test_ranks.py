"""Saving and restoring with real ranks: any number, plain or sharded, and whatever kills them."""

import itertools
from pathlib import Path

import pytest

from ktrain.history import claim_epoch, read_head
from ktrain.storage import open_storage
from ktrain_trainer.checkpoint import Checkpointer, World
from tests.checkpoint.models import build, digests, reference, train
from tests.checkpoint.work import SMALL
from tests.ranks import run_ranks, values

WORK = "tests.checkpoint.work"
MODES = ("plain", "fsdp")


def restored_here(url: str) -> tuple[int, dict[str, str]]:
    """What a single process finds, in a new epoch."""
    model, made = build("plain", "tiny", start=99.0)
    storage = open_storage(url)
    saver = Checkpointer(storage, claim_epoch(storage, attempt=1), World(), run="run", options=SMALL)
    restored = saver.restore(model, made)
    assert restored is not None
    assert restored.fell_back == ()
    return restored.step, digests(model, made)


def save_here(url: str, step: int) -> None:
    model, made = build("plain", "tiny")
    train(model, made, range(step))
    storage = open_storage(url)
    saver = Checkpointer(storage, claim_epoch(storage, attempt=1), World(), run="run", options=SMALL)
    saver.save(step, model, made, {}).result(30)
    saver.close()


@pytest.mark.slow
def test_what_any_ranks_save_any_ranks_restore(tmp_path: Path) -> None:
    places = {(mode, size): f"{tmp_path}/{mode}-{size}" for mode in MODES for size in (1, 2, 3, 4)}
    for (mode, size), url in places.items():
        assert values(run_ranks(f"{WORK}:save", size, url, mode, 3)) == [reference(3)] * size
    further = reference(4)
    for mode, size in itertools.product(MODES, (1, 2, 3, 4)):
        found = values(run_ranks(f"{WORK}:restore_all", size, list(places.values()), mode))
        assert found == [[further] * len(places)] * size, f"restored by {size} {mode} ranks"


def test_two_ranks_share_the_work_and_one_can_read_it(tmp_path: Path) -> None:
    values(run_ranks(f"{WORK}:save", 2, str(tmp_path), "plain", 2, "tiny"))
    assert restored_here(str(tmp_path)) == (2, reference(2, "tiny"))
    storage = open_storage(str(tmp_path))
    sizes = {rank: sum(it.size_bytes for it in storage.list() if f"/{rank:04d}-" in it.key) for rank in (0, 1)}
    assert 0.5 < sizes[0] / sizes[1] < 2


@pytest.mark.slow
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize(("who", "calls"), [(0, 10), (1, 4)])
def test_a_rank_killed_at_any_call_of_a_save_leaves_a_whole_checkpoint(
    tmp_path: Path, who: int, calls: int, after: bool
) -> None:
    wholes = {step: reference(step, "tiny") for step in (1, 2, 3)}
    codes = []
    for at in range(calls):
        url = f"{tmp_path}/{at}"
        save_here(url, 1)
        outcomes = run_ranks(f"{WORK}:save_and_fall", 2, url, "die", who, at, after, kill_peers=True)
        codes.append(outcomes[who].exit_code)
        step, found = restored_here(url)
        assert found == wholes[step], f"killed at call {at}"
        save_here(url, step + 1)
        assert restored_here(url) == (step + 1, reference(step + 1, "tiny"))
    assert codes.count(-9) >= calls - 1


@pytest.mark.parametrize("who", [0, 1, 2])
def test_when_one_rank_fails_all_hear_it_at_once_and_the_next_save_works(tmp_path: Path, who: int) -> None:
    save_here(str(tmp_path), 1)
    said = values(run_ranks(f"{WORK}:save_and_fall", 3, str(tmp_path), "refuse", who, 0, False))
    for rank, (first, second) in enumerate(said):
        assert first.endswith("the disk is full")
        assert rank == who or first == f"CheckpointError: rank {who}: the disk is full"
        assert second == "ok"
    assert restored_here(str(tmp_path)) == (3, reference(3, "tiny"))


@pytest.mark.parametrize("only", ["manifest.json", "replace HEAD"])
def test_when_the_commit_fails_no_rank_believes_in_it(tmp_path: Path, only: str) -> None:
    said = values(run_ranks(f"{WORK}:save_and_fall", 2, str(tmp_path), "refuse", 0, 0, False, only))
    assert [first for first, _ in said] == [
        "StorageError: the disk is full",
        "CheckpointError: rank 0: the disk is full",
    ]
    assert [second for _, second in said] == ["ok", "ok"]


def test_a_zombie_of_an_older_epoch_cannot_commit(tmp_path: Path) -> None:
    said = values(run_ranks(f"{WORK}:save_as_zombie", 2, str(tmp_path)))
    for each in said:
        assert each.startswith("FencedError: ")
        assert "a0001-e0002 has taken over" in each
    head = read_head(open_storage(str(tmp_path)))
    assert head is not None
    assert head.commits == ()


def test_ranks_that_train_different_things_are_told(tmp_path: Path) -> None:
    said = values(run_ranks(f"{WORK}:save_different_models", 2, str(tmp_path)))
    assert all("ranks [1] have other tensors than rank 0" in each for each in said)


def test_damage_that_one_rank_sees_makes_all_fall_back_together(tmp_path: Path) -> None:
    for step in (1, 2):
        values(run_ranks(f"{WORK}:save", 2, str(tmp_path), "fsdp", step, "tiny"))
    shard = tmp_path / "a0001-e0002/step-000000002/0001-0000.bin"  # begins with what rank 1 alone needs
    shard.write_bytes(b"\x55" + shard.read_bytes()[1:])
    found = values(run_ranks(f"{WORK}:restore", 2, str(tmp_path), "fsdp"))
    for (step, fell_back), _, after in found:
        assert step == 1
        assert len(fell_back) == 1
        assert f"{shard.name} is damaged" in fell_back[0]
        assert after == reference(1, "tiny")


def test_when_nothing_is_whole_nothing_live_changes_on_any_rank(tmp_path: Path) -> None:
    values(run_ranks(f"{WORK}:save", 2, str(tmp_path), "plain", 1, "tiny"))
    next(tmp_path.glob("*/*/0001-*.bin")).unlink()
    for said, before, after in values(run_ranks(f"{WORK}:restore", 2, str(tmp_path), "fsdp")):
        assert said.startswith("CheckpointError: ")
        assert "none of 1 checkpoints is whole" in said
        assert "is missing" in said
        assert before == after


def test_buffers_are_those_of_rank_0_and_never_a_mix(tmp_path: Path) -> None:
    assert values(run_ranks(f"{WORK}:save_own_statistics", 3, str(tmp_path))) == ["ok"] * 3
    model, made = build("plain", "tiny")
    storage = open_storage(str(tmp_path))
    Checkpointer(storage, claim_epoch(storage, attempt=1), World(), run="run").restore(model, made)
    kept = [buffer for name, buffer in model.named_buffers() if name != "scratch"]
    assert len(kept) == 3
    assert all(buffer.eq(7).all() for buffer in kept)


@pytest.mark.parametrize("mode", MODES)
def test_weights_alone_begin_another_run(tmp_path: Path, mode: str) -> None:
    values(run_ranks(f"{WORK}:save", 2, str(tmp_path), "plain", 3))
    wanted = {name: it for name, it in reference(3).items() if name.startswith("model.")}
    assert values(run_ranks(f"{WORK}:begin_from", 2, f"{tmp_path}@3", mode)) == [(3, wanted)] * 2
