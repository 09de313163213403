"""What ranks find in their launchers' memory when they come again: the newest copy that all of them have."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ktrain.history import Commit, read_head
from ktrain.storage import open_storage
from ktrain_trainer.checkpoint.recall import _choose
from tests.checkpoint.models import reference
from tests.ranks import run_ranks, values

WORK = "tests.checkpoint.recall_work"

Cells = list[list[str]]
"""Paths, by rank."""


@pytest.fixture
def cells() -> Iterator[Cells]:
    """As a launcher holds them: three for each of two ranks."""
    made = [[os.memfd_create(f"{rank}-{copy}") for copy in range(3)] for rank in range(2)]
    yield [[f"/proc/{os.getpid()}/fd/{it}" for it in own] for own in made]
    for own in made:
        for each in own:
            os.close(each)


def crash(url: Path, cells: Cells, steps: dict[int, str], *, mode: str = "plain", **acts: Any) -> None:
    """Two ranks train, save or remember at these steps, and are killed: at the end, or as the acts say."""
    ended = run_ranks(f"{WORK}:train_and_die", 2, str(url), cells, mode, steps, acts)
    assert [it.exit_code for it in ended] == [-9, -9], [it.error for it in ended]


def found(
    url: Path, cells: Cells, *, size: int = 2, mode: str = "plain"
) -> list[tuple[int, bool, bool, tuple[str, ...]]]:
    """Step, whether from memory, whether committed, and why it fell back; what they restored is right in any case."""
    told = values(run_ranks(f"{WORK}:restore", size, str(url), cells[:size], mode))
    for state, step, *_ in told:
        assert state == (reference(step) if step else state)
    return [tuple(rest) for _, *rest in told]


OLD, MIDDLE, NEW = [3, 2, 1, "d"], [4, 2, 1, "d"], [5, 2, 1, "d"]


@pytest.mark.parametrize(
    ("said", "newest", "chosen"),
    [
        ([[OLD, MIDDLE], [MIDDLE, NEW]], None, MIDDLE),
        ([[OLD, MIDDLE], [NEW]], None, None),
        ([[], []], None, None),
        ([[OLD, NEW], [NEW, OLD]], (5, 2), NEW),
        ([[OLD], [OLD]], (4, 2), None),
        ([[NEW], [NEW]], (4, 3), None),  # a later epoch has committed less: its history is the one that counts
        ([[NEW, [9, 1, 1, "d"]], [NEW, [9, 1, 1, "d"]]], (4, 2), NEW),
        ([[[5, 2, 1, "d"]], [[5, 2, 1, "another plan"]]], None, None),
    ],
)
def test_the_newest_that_all_have_and_that_storage_does_not_contradict(
    said: list[list[list[Any]]], newest: tuple[int, int] | None, chosen: list[Any] | None
) -> None:
    commit = Commit(newest[0], "m", "0" * 64, 1, newest[1], 1, 0.0) if newest else None
    found = _choose(said, newest=commit)
    assert (list(found) if found else None) == chosen


@pytest.mark.parametrize("mode", ["plain", "fsdp"])
def test_the_newest_copy_in_memory_is_taken_and_exact(tmp_path: Path, cells: Cells, mode: str) -> None:
    crash(tmp_path, cells, {2: "save", 3: "remember", 4: "remember", 5: "remember"}, mode=mode)
    assert found(tmp_path, cells, mode=mode) == [(5, True, False, ())] * 2


def test_without_any_commit_memory_is_enough(tmp_path: Path, cells: Cells) -> None:
    crash(tmp_path, cells, {1: "remember"})
    assert found(tmp_path, cells) == [(1, True, False, ())] * 2


def test_a_save_that_was_not_committed_is_in_memory(tmp_path: Path, cells: Cells) -> None:
    """Killed in the middle of the upload: the copy was whole."""
    crash(tmp_path, cells, {2: "save", 4: "save"}, hang=4)
    head = read_head(open_storage(str(tmp_path)))
    assert head is not None
    assert head.newest is not None
    assert head.newest.step == 2
    assert found(tmp_path, cells) == [(4, True, False, ())] * 2


def test_what_is_committed_and_in_memory_comes_from_memory(tmp_path: Path, cells: Cells) -> None:
    crash(tmp_path, cells, {3: "save"})
    assert found(tmp_path, cells) == [(3, True, True, ())] * 2


def test_a_copy_that_one_rank_has_not_finished_is_passed_over_by_both(tmp_path: Path, cells: Cells) -> None:
    crash(tmp_path, cells, {2: "save", 3: "remember", 4: "remember"}, cut=(1, 4))
    assert found(tmp_path, cells) == [(3, True, False, ())] * 2


def test_a_rank_whose_memory_is_gone_sends_all_to_storage(tmp_path: Path, cells: Cells) -> None:
    crash(tmp_path, cells, {2: "save", 3: "remember"})
    for path in cells[1]:
        os.truncate(path, 0)
    assert found(tmp_path, cells) == [(2, False, True, ())] * 2


def test_a_commit_that_is_newer_than_memory_wins(tmp_path: Path, cells: Cells) -> None:
    crash(tmp_path, cells, {2: "remember"})
    crash(tmp_path, [[], []], {4: "save"})
    assert found(tmp_path, cells) == [(4, False, True, ())] * 2


def test_another_number_of_ranks_takes_what_storage_has(tmp_path: Path, cells: Cells) -> None:
    crash(tmp_path, cells, {2: "save", 3: "remember"})
    assert found(tmp_path, cells, size=1) == [(2, False, True, ())]


def test_memory_of_another_run_is_none(tmp_path: Path, cells: Cells) -> None:
    crash(tmp_path, cells, {2: "save", 3: "remember"}, run="another")
    assert found(tmp_path, cells) == [(2, False, True, ())] * 2


def test_a_wrong_byte_in_a_copy_changes_no_tensor_when_ranks_pass_it_on(tmp_path: Path, cells: Cells) -> None:
    """Memory is trusted as the tensors are; what is hashed is the way from one rank to the other."""
    crash(tmp_path, cells, {2: "save", 3: "remember"})
    told = values(run_ranks(f"{WORK}:restore", 2, str(tmp_path), cells, "plain", "garbled"))
    assert all(state == reference(2) for state, *_ in told)
    assert all("memory: " in reasons[0] and "is damaged" in reasons[0] for *_, reasons in told)


def test_restored_twice_without_a_step_is_the_same(tmp_path: Path, cells: Cells) -> None:
    crash(tmp_path, cells, {3: "remember"})
    assert found(tmp_path, cells) == found(tmp_path, cells) == [(3, True, False, ())] * 2


def test_what_is_remembered_after_a_recall_is_found_again(tmp_path: Path, cells: Cells) -> None:
    crash(tmp_path, cells, {2: "save", 3: "remember"})
    crash(tmp_path, cells, {5: "remember", 6: "save"}, hang=6)
    assert found(tmp_path, cells) == [(6, True, False, ())] * 2
