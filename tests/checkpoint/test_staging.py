"""Copies beside the training, in memory that is reused; and saves that are made faster than storage takes them."""

import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from ktrain.errors import CheckpointError, StorageError, SupersededError
from ktrain.history import claim_epoch, read_head
from ktrain.storage import Storage
from ktrain.storage.memory import MemoryStorage
from ktrain_trainer.checkpoint import Checkpointer, World
from tests.checkpoint.models import build, digests, train
from tests.checkpoint.work import SMALL
from tests.faults import FaultyStorage, refuse
from tests.ranks import run_ranks, values


def saver_of(storage: Storage, run: Storage | None = None) -> Checkpointer:
    return Checkpointer(storage, claim_epoch(run or storage, attempt=1), World(), run="run", options=SMALL)


def restored(storage: Storage) -> tuple[int, dict[str, str]]:
    model, made = build("plain", "adamw", start=99.0)
    found = saver_of(storage).restore(model, made)
    assert found is not None
    return found.step, digests(model, made)


def hold(saver: Checkpointer) -> threading.Event:
    """No copy begins in the background before the event."""
    gate = threading.Event()
    saver._stager._pool.submit(gate.wait, 30)
    return gate


def waiting(storage: Storage) -> tuple[Storage, threading.Event, threading.Event]:
    """Its first object waits: tells when it is there, and goes on when it is told to."""
    reached, gate = threading.Event(), threading.Event()

    def wait() -> None:
        reached.set()
        gate.wait(30)

    return FaultyStorage(storage, wait, only="create", for_ever=False), reached, gate


def test_what_a_forward_pass_changes_is_copied_at_once_and_the_rest_until_the_fence() -> None:
    storage = MemoryStorage()
    model, made = build("plain")
    train(model, made, range(3))
    saver, before = saver_of(storage), digests(model, made)
    pending = saver.save(3, model, made, {}, overlap=True)
    model.get_buffer("body.1.running_mean").add_(1.0)
    model.get_parameter("frozen").data.add_(1.0)
    saver.fence()
    train(model, made, range(3, 4))
    pending.result(30)
    assert restored(storage) == (3, before)


def test_a_parameter_that_is_changed_before_the_fence_makes_no_checkpoint() -> None:
    storage = MemoryStorage()
    model, made = build("plain")
    saver = saver_of(storage)
    saver.save(1, model, made, {}).result(30)
    before = digests(model, made)
    gate = hold(saver)
    pending = saver.save(2, model, made, {}, overlap=True)
    with torch.no_grad():
        model.get_parameter("scale").add_(1.0)
    gate.set()
    saver.fence()
    with pytest.raises(CheckpointError, match=r"model\.scale was changed in place by a forward or backward pass"):
        pending.result(30)
    assert restored(storage) == (1, before)


def test_after_that_nothing_is_copied_beside_the_training() -> None:
    storage = MemoryStorage()
    model, made = build("plain")
    saver = saver_of(storage)
    gate = hold(saver)
    saver.save(2, model, made, {}, overlap=True)
    with torch.no_grad():
        model.get_parameter("scale").add_(1.0)
    gate.set()
    saver.fence()
    before = digests(model, made)
    pending = saver.save(3, model, made, {}, overlap=True)
    assert not saver.is_copying
    with torch.no_grad():
        model.get_parameter("scale").add_(1.0)
    pending.result(30)
    assert restored(storage) == (3, before)


def test_saves_do_not_wait_for_storage_and_the_newest_takes_the_turn_of_one_that_waits() -> None:
    storage = MemoryStorage()
    slow, reached, gate = waiting(storage)
    model, made = build("plain")
    saver = saver_of(slow, storage)
    first = saver.save(1, model, made, {})
    reached.wait(30)
    train(model, made, range(1))
    second = saver.save(2, model, made, {})
    train(model, made, range(1))
    third, before = saver.save(3, model, made, {}), digests(model, made)
    train(model, made, range(1))
    with pytest.raises(SupersededError, match="the checkpoint of step 2 was dropped, as a newer one is there"):
        second.result(0)
    assert not first.done()
    gate.set()
    assert [first.result(30).step, third.result(30).step] == [1, 3]
    assert restored(storage) == (3, before)


def test_a_save_that_must_not_be_dropped_keeps_its_turn() -> None:
    """The next one is dropped for it; and one that must not be dropped either waits until it has had its turn."""
    storage = MemoryStorage()
    slow, reached, gate = waiting(storage)
    model, made = build("plain")
    saver = saver_of(slow, storage)
    pendings = [saver.save(1, model, made, {})]
    reached.wait(30)
    pendings.append(saver.save(2, model, made, {}, may_drop=False))
    third = saver.save(3, model, made, {})
    with pytest.raises(SupersededError, match="the checkpoint of step 3 was dropped, as the one before must be kept"):
        third.result(0)
    after = threading.Thread(target=lambda: pendings.append(saver.save(4, model, made, {}, may_drop=False)))
    after.start()
    after.join(0.2)
    assert after.is_alive()
    gate.set()
    after.join(30)
    assert [pending.result(30).step for pending in pendings] == [1, 2, 4]


def test_ranks_agree_on_what_was_dropped(tmp_path: Path) -> None:
    said = values(run_ranks("tests.checkpoint.work:save_faster_than_storage", 2, str(tmp_path)))
    for each in said:
        assert each[0] == each[2] == "ok"
        assert each[1].startswith("SupersededError: ")


def test_a_storage_that_hangs_fails_the_save_in_time_and_not_the_next_ones(tmp_path: Path) -> None:
    for said, waited in values(run_ranks("tests.checkpoint.work:save_while_storage_hangs", 2, str(tmp_path))):
        assert "within 1 s" in said[0]
        assert said[1:] == ["ok", "ok"]
        assert waited < 15


def test_copies_that_storage_never_lets_go_are_not_waited_for() -> None:
    storage, gate = MemoryStorage(), threading.Event()
    slow = FaultyStorage(storage, lambda: gate.wait(60), only="create")
    model, made = build("plain")
    saver = Checkpointer(
        slow, claim_epoch(storage, attempt=1), World(), run="run", options=replace(SMALL, deadline_seconds=0.5)
    )
    for step in (1, 2):
        with pytest.raises(CheckpointError, match=r"storage did not take this rank.s part of the save within 0\.5 s"):
            saver.save(step, model, made, {}).result(30)
    with pytest.raises(CheckpointError, match="storage hangs"):
        saver.save(3, model, made, {}).result(30)
    gate.set()


def test_memory_is_reused() -> None:
    storage = MemoryStorage()
    model, made = build("plain")
    train(model, made, range(1))
    saver = saver_of(storage)
    saver.warm(model, made)
    saver._stager.settle()
    made_ready = {slab._bytes.data_ptr() for slab in saver._line._free}
    assert len(made_ready) == 2
    for step in range(1, 4):
        saver.save(step, model, made, {}).result(30)
        saver.close()
    assert {slab._bytes.data_ptr() for slab in saver._line._free} == made_ready


def test_what_a_failed_save_left_is_removed_after_the_next() -> None:
    storage = MemoryStorage()
    saver = saver_of(FaultyStorage(storage, refuse, only="create", at=3, for_ever=False), storage)
    model, made = build("plain")
    with pytest.raises(StorageError, match="the disk is full"):
        saver.save(1, model, made, {}).result(30)
    saver.close()
    assert [it for it in storage.list() if "step-000000001" in it.key]
    saver.save(2, model, made, {}).result(30)
    saver.close()
    assert not [it for it in storage.list() if "step-000000001" in it.key]


def test_a_failed_save_that_was_committed_all_the_same_stays() -> None:
    storage = MemoryStorage()
    saver = saver_of(FaultyStorage(storage, refuse, only="replace HEAD", after=True, for_ever=False), storage)
    model, made = build("plain")
    with pytest.raises(StorageError):
        saver.save(1, model, made, {}).result(30)
    saver.save(2, model, made, {}).result(30)
    saver.close()
    head = read_head(storage)
    assert head is not None
    assert [commit.step for commit in head.commits] == [1, 2]
    assert all(storage.stat(commit.manifest) for commit in head.commits)


def test_a_slab_grows_with_the_plan() -> None:
    storage = MemoryStorage()
    saver = saver_of(storage)
    saver.save(1, nn.Linear(2, 2), None, {}).result(30)
    model, made = build("plain")
    train(model, made, range(1))
    saver.save(2, model, made, {}).result(30)
    assert restored(storage) == (2, digests(model, made))
