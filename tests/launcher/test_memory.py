"""What outlives ranks: memory for their copies; and what does not outlive the job: objects of saves that were cut short."""

import os
from pathlib import Path

import pytest

from ktrain.history import Token, claim_epoch, read_head
from ktrain.names import Exit
from ktrain.storage import open_storage
from ktrain_launcher.abandon import abandon
from ktrain_launcher.memory import COPIES, Memory
from tests.launcher.gang import gang


def test_each_rank_has_files_of_its_own_that_others_can_open() -> None:
    memory = Memory(2, COPIES, lambda *_, **__: None)
    paths = memory.of(0) + memory.of(1)
    assert len(set(paths)) == 2 * COPIES
    for number, path in enumerate(paths):
        Path(path).write_bytes(bytes([number]))
    assert [Path(path).read_bytes() for path in paths] == [bytes([number]) for number in range(2 * COPIES)]


def test_where_there_are_no_such_files_ranks_get_none_and_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "memfd_create")
    said: list[str] = []
    assert Memory(1, COPIES, lambda what, **_: said.append(what)).of(0) == []
    assert said == ["no_memory_tier"]


@pytest.mark.slow
@pytest.mark.parametrize("nproc", [1, 2])
def test_a_script_goes_on_from_a_save_that_was_cut_short(tmp_path: Path, nproc: int) -> None:
    with gang(tmp_path, "remembers.py", nproc=nproc) as job:
        assert job.wait() == [0]
        for rank in range(nproc):
            assert job.marks(f"restored{rank}") == ["0", "5"]
            assert job.marks(f"weight{rank}")[1] == "7.0"
        head = read_head(open_storage(str(job.run)))
        assert head is not None
        assert [commit.step for commit in head.commits] == [5]
        assert folders(job.run) == ["a0001-e0002/step-000000005"]


def folders(run: Path) -> list[str]:
    return sorted(f"{it.parent.name}/{it.name}" for it in run.glob("a*-e*/step-*"))


@pytest.mark.parametrize(
    ("code", "left"),
    [
        (Exit.USER, ["a0001-e0001/step-000000001"]),
        (Exit.PREEMPTED, ["a0001-e0001/step-000000001", "a0001-e0001/step-000000002"]),
    ],
)
def test_a_job_that_ends_for_good_leaves_no_objects_without_a_commit(
    tmp_path: Path, code: Exit, left: list[str]
) -> None:
    """One that comes again finds them and sweeps them up itself, and has no time for it when it is told to go."""
    with gang(tmp_path, "cut.py", str(int(code)), spec={"restart": {"inPlace": 0, "max": 0}}) as job:
        job.wait()
        if code == Exit.USER:
            assert "save_abandoned" in job.output
        assert folders(job.run) == left


def test_nothing_is_touched_once_somebody_has_taken_over(tmp_path: Path) -> None:
    run = open_storage(str(tmp_path))
    first = claim_epoch(run, attempt=1)
    run.put(f"{first.prefix}/step-000000002/0000-0000.bin", b"bytes")
    claim_epoch(run, attempt=2)
    abandon(run, first, lambda *_, **__: None)
    assert folders(tmp_path) == [f"{first.prefix}/step-000000002"]
    head = read_head(run)
    assert head is not None
    abandon(run, Token(head.attempt, head.epoch), lambda *_, **__: None)
    assert folders(tmp_path) == []
