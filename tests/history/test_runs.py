"""A job's runs: one is current, none is ever overwritten."""

import json

import pytest

from ktrain.errors import CheckpointError, Conflict
from ktrain.history import Token, begin_run, claim_epoch, current_run, list_runs, read_head
from ktrain.storage import Data, scoped
from ktrain.storage.memory import MemoryStorage
from tests.faults import FaultyStorage, refuse


def test_a_job_that_never_began_has_no_run() -> None:
    assert current_run(MemoryStorage()) is None
    assert list_runs(MemoryStorage()) == []


def test_a_new_run_is_current_and_has_its_spec() -> None:
    job = MemoryStorage()
    run = begin_run(job, {"kind": "TrainingJob", "name": "ü"})
    assert current_run(job) == run
    assert json.loads(job.get(f"{run}/spec.json")[0]) == {"kind": "TrainingJob", "name": "ü"}


def test_a_fresh_run_stands_beside_the_old_one() -> None:
    job = MemoryStorage()
    first = begin_run(job, {"n": 1})
    claim_epoch(scoped(job, first), attempt=1)
    second = begin_run(job, {"n": 2})
    runs = list_runs(job)
    assert [(it.run, it.is_current) for it in runs] == [(first, False), (second, True)]
    assert [it.head and it.head.token for it in runs] == [Token(1, 1), None]
    assert read_head(scoped(job, second)) is None


def test_two_that_begin_at_once_make_one_run() -> None:
    job = MemoryStorage()

    class Racing(FaultyStorage):
        def create(self, key: str, data: Data) -> str:
            if key == "RUN":
                begin_run(job, {"winner": True})
            return super().create(key, data)

    with pytest.raises(Conflict, match="another process began a run of this job just now; run again to resume it"):
        begin_run(Racing(job, refuse, at=10_000), {"winner": False})
    assert [it.is_current for it in list_runs(job)] == [True]


def test_other_folders_are_no_runs() -> None:
    job = MemoryStorage()
    job.put("code/abc.tar", b"x")
    job.put("00000000-0000-0000-0000-000000000000/HEAD", b"x")
    assert list_runs(job) == []


@pytest.mark.parametrize("data", [b"{", b"[]", b'{"format": 1}', b'{"format": 1, "run": "../other"}'])
def test_a_damaged_pointer_is_named(data: bytes) -> None:
    job = MemoryStorage()
    job.put("RUN", data)
    with pytest.raises(CheckpointError, match=f"{job.url}/RUN is damaged"):
        current_run(job)
