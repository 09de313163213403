"""A grace period that is too short for what saving took is told before the job is created."""

import json
from typing import Any

import pytest

from ktrain.spec import TrainingJob
from ktrain.storage.memory import MemoryStorage
from ktrain.submit.budget import warning
from tests.render.test_render import job


def run_with(*records: dict[str, Any]) -> MemoryStorage:
    storage = MemoryStorage()
    for number, record in enumerate(records):
        storage.put(f"metrics/a0001-e0001/{number:06d}.jsonl", json.dumps(record).encode() + b"\n")
    return storage


def step(number: int, time: float) -> dict[str, Any]:
    return {"kind": "step", "step": number, "time": time}


def saved(seconds: float | None, *, committed: bool = True) -> dict[str, Any]:
    return {
        "kind": "checkpoint",
        "step": 10,
        "time": 1.0,
        "seconds": seconds,
        "size_bytes": 3 << 30,
        "committed": committed,
    }


def granted(grace: str) -> TrainingJob:
    return job(preemption={"grace": grace})


@pytest.mark.parametrize(
    ("grace", "needed"),
    [("30s", None), ("27s", None), ("26s", 27), ("10s", 27)],  # 2 steps of 1.5 s, and 1.2 times 20 s
)
def test_it_is_told_when_the_newest_save_and_two_steps_take_longer(grace: str, needed: int | None) -> None:
    run = run_with(saved(500.0), step(10, 100.0), step(20, 115.0), saved(20.0), saved(900.0, committed=False))
    said = warning(granted(grace), run)
    assert (f"needs about {needed} s" in said if said else None) is (True if needed else None)
    if said:
        assert "3.0 GiB" in said
        assert "write preemption: {grace: 30s}" in said


def test_nothing_is_told_before_anything_was_measured() -> None:
    assert warning(granted("1s"), run_with()) is None
    assert warning(granted("1s"), run_with(step(1, 1.0), saved(None), saved(9.0, committed=False))) is None


def test_a_save_without_steps_counts_alone() -> None:
    said = warning(granted("10s"), run_with(saved(20.0)))
    assert said is not None
    assert "needs about 24 s" in said


def test_of_a_long_run_only_the_newest_records_are_read() -> None:
    assert warning(granted("10s"), run_with(saved(100.0), *[step(n, float(n)) for n in range(20)])) is None
