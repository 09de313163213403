"""Ranks that restore together: what several want, one reads from storage for all of them."""

from pathlib import Path

import pytest

from ktrain.history import read_head
from ktrain.storage import open_storage
from tests.checkpoint.models import reference
from tests.checkpoint.test_damage import flip
from tests.ranks import run_ranks, values

WORK = "tests.checkpoint.work"


def save(url: Path, *steps: int) -> None:
    for step in steps:
        values(run_ranks(f"{WORK}:save", 1, str(url), "plain", step))


@pytest.mark.parametrize("size", [2, 3])
def test_each_object_leaves_the_storage_once(tmp_path: Path, size: int) -> None:
    save(tmp_path, 3)
    found = values(run_ranks(f"{WORK}:restore_together", size, str(tmp_path), "plain"))
    assert all(state == reference(3) for state, _, _ in found)
    reads = sorted(call for _, calls, _ in found for call in calls)
    assert reads == [f"read {stat.key}" for stat in open_storage(str(tmp_path)).list() if stat.key.endswith(".bin")]
    counts = [len(calls) for _, calls, _ in found]
    assert max(counts) - min(counts) <= 1


def test_shards_that_two_ranks_hold_are_read_once(tmp_path: Path) -> None:
    save(tmp_path, 3)
    reads = {}
    for mode, size in (("fsdp", 2), ("hsdp", 4)):
        found = values(run_ranks(f"{WORK}:restore_together", size, str(tmp_path), mode))
        assert all(state == reference(3) for state, _, _ in found)
        reads[mode] = sorted(call for _, calls, _ in found for call in calls)
    assert reads["hsdp"] == reads["fsdp"]


def test_damage_that_one_rank_finds_makes_all_go_back(tmp_path: Path) -> None:
    save(tmp_path, 2, 3)
    head = read_head(open_storage(str(tmp_path)))
    assert head is not None
    said = flip(tmp_path / Path(head.commits[-1].manifest).parent)
    found = values(run_ranks(f"{WORK}:restore_together", 2, str(tmp_path), "plain"))
    assert all(state == reference(2) for state, _, _ in found)
    assert all(said in reason[0] for _, _, reason in found)
