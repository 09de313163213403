"""Verifying and pruning without torch: what was damaged is named, and the newest commit always stays."""

from dataclasses import replace
from pathlib import Path

import pytest

from ktrain.checkpoints.prune import plan, prune
from ktrain.checkpoints.retention import Retention
from ktrain.checkpoints.verify import verify
from ktrain.history import Head, drop_commits, read_head
from ktrain.storage import Storage, open_storage
from tests.checkpoint.test_damage import DAMAGES, Damage, restore, save_steps


def head_of(storage: Storage) -> Head:
    head = read_head(storage)
    assert head is not None
    return head


def test_a_whole_checkpoint_is_whole_and_every_byte_was_read(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    save_steps(storage, 1)
    commit = head_of(storage).commits[0]
    counted: list[int] = []
    assert verify(storage, commit, on_bytes=counted.append) == []
    assert sum(counted) == commit.size_bytes


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_every_damage_is_found(tmp_path: Path, damage: Damage) -> None:
    storage = open_storage(str(tmp_path))
    save_steps(storage, 1, 2, 3)
    reason = damage(tmp_path / "a0001-e0001/step-000000003")
    one, two, three = head_of(storage).commits
    problems = verify(storage, three, on_bytes=lambda _bytes: None)
    assert problems
    assert any(reason in problem for problem in problems)
    assert (
        verify(storage, one, on_bytes=lambda _bytes: None) == verify(storage, two, on_bytes=lambda _bytes: None) == []
    )


def test_pruning_leaves_the_newest_and_what_it_leaves_is_restored(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    save_steps(storage, 1, 2, 3)
    wanted = plan(storage, head_of(storage), Retention(1))
    done = prune(storage, wanted)
    assert [it.step for it in done.removed] == [1, 2]
    assert [it.step for it in head_of(storage).commits] == [3]
    assert sorted(path.name for path in (tmp_path / "a0001-e0001").iterdir()) == ["step-000000003"]
    assert restore(storage)[0].step == 3


def test_the_best_stay_when_asked_for(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    save_steps(storage, 1, 2, 3)
    head = head_of(storage)
    scored = replace(head, commits=tuple(replace(it, metric=it.step / 10) for it in head.commits))
    assert [it.step for it in plan(storage, scored, Retention(1, 1, "min")).kept] == [1, 3]
    assert [it.step for it in plan(storage, scored, Retention(1, 2, "max")).kept] == [2, 3]


def test_a_commit_made_while_pruning_stays(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    save_steps(storage, 1, 2)
    wanted = plan(storage, head_of(storage), Retention(1))
    save_steps(storage, 4)  # by a newer epoch, after the plan was made
    done = prune(storage, wanted)
    assert [it.step for it in done.kept] == [2, 4]
    assert restore(storage)[0].step == 4


def test_the_newest_cannot_be_dropped(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    save_steps(storage, 1, 2)
    head = drop_commits(storage, [it.manifest for it in head_of(storage).commits])
    assert [it.step for it in head.commits] == [2]


def test_what_interrupted_saves_left_is_swept(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    save_steps(storage, 1)
    storage.put("a0001-e0001/step-000000009/0000-0000.bin", b"half")
    save_steps(storage, 2)
    storage.put("a0001-e0002/step-000000009/0000-0000.bin", b"of the running epoch: perhaps being written")
    done = prune(storage, plan(storage, head_of(storage), Retention(5)))
    assert done.removed == ()
    assert [stat.key for stat in storage.list() if "000000009" in stat.key] == [
        "a0001-e0002/step-000000009/0000-0000.bin"
    ]
