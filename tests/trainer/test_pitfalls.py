"""Pitfalls of exact resume (docs/pitfalls.md) that no other file shows."""

import logging
import os
import signal
import subprocess
import sys
import textwrap
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset, default_collate

import ktrain_trainer as ktrain
from ktrain.history import current_run, read_head
from ktrain.names import Exit
from ktrain.resume import check
from ktrain.storage import open_storage, scoped
from ktrain_trainer.data import Fetch, Loader, Steps
from ktrain_trainer.plan import Cut, Stream
from ktrain_trainer.stop import StopFlag
from tests.ranks import run_ranks, values
from tests.resume.test_resume import document
from tests.trainer.mlp import Case

TRAIN = "tests.trainer.mlp:train"
COSINE = {"name": "cosine", "warmup": "5step"}


class Numbers(Dataset[int]):
    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> int:
        return index


def steps(begin: int, workers: int) -> Steps:
    """Five steps of eight samples an epoch, two epochs, fetched ahead as far as it goes."""
    loader = Loader(Fetch(Numbers(), default_collate, 3), workers=workers, prefetch=8)
    stream = Stream(40, seed=3, shuffle=True)
    return Steps(loader, stream, Cut(4, 0, 1), begin=begin, end_of=lambda at: min(at + 8, 80))


def trained_on(batches: list[Any]) -> list[int]:
    return [int(sample) for batch in batches for sample in batch.data]


def test_what_workers_fetched_ahead_was_not_trained_on() -> None:
    first = steps(0, workers=2)
    before = [sample for _ in range(3) for sample in trained_on(first.next())]
    rest = steps(3 * 8, workers=2)  # another process would begin here, whatever the first one had prefetched
    after = [sample for _ in range(7) for sample in trained_on(rest.next())]
    assert Counter(before + after) == Counter(dict.fromkeys(range(40), 2))
    plain = steps(0, workers=0)
    assert before + after == [sample for _ in range(10) for sample in trained_on(plain.next())]


def test_a_longer_duration_is_told() -> None:
    """With a schedule that falls to the end of the run, a longer one has another rate from the next step on."""
    (told,) = check(document(schedule=COSINE), document(schedule=COSINE, duration="20ep"))
    assert "duration" in str(told)


@pytest.mark.parametrize(("schedule", "is_told"), [("cosine", True), ("constant", False)])
def test_a_rate_that_jumps_up_because_a_run_at_its_end_goes_on_is_told(
    schedule: str, is_told: bool, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = TensorDataset(torch.randn(64, 4), torch.randn(64, 1))
    for duration in ("10step", "11step", "40step"):
        ktrain.fit(
            nn.Linear(4, 1), data, duration=duration, batch={"global": 8, "micro": 8}, storage=str(tmp_path), loss="mse",
            optim={"name": "sgd", "lr": 0.01}, schedule={"name": schedule},
        )  # fmt: skip
    told = [record.getMessage() for record in caplog.records if "goes on at" in record.getMessage()]
    assert (len(told) > 0) is is_told
    assert not is_told or "because duration is part of the schedule" in told[-1]


def test_another_global_batch_is_told() -> None:
    (told,) = check(document(schedule=COSINE), document(schedule=COSINE, batch={"global": 16, "micro": 2}))
    assert "batch.global" in str(told)


def test_another_kernel_is_told() -> None:
    (told,) = check(document(), document(optim={"lr": 0.1, "kernel": "foreach"}))
    assert "optim.kernel" in str(told)


def test_a_signal_sets_a_flag_and_nothing_else(
    caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level(logging.DEBUG)
    with StopFlag().listening() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        assert (stop.is_set, stop.wants_save) == (True, False)
        os.kill(os.getpid(), signal.SIGUSR2)
        assert stop.wants_save
    assert caplog.records == []
    assert capfd.readouterr() == ("", "")


def test_a_process_leaves_whatever_its_threads_wait_for() -> None:
    """As gloo's do for a peer that is dead: interpreter shutdown would join them."""
    program = textwrap.dedent(
        """
        import threading
        from ktrain.names import Exit
        from ktrain_trainer.worker import leave
        threading.Thread(target=threading.Event().wait).start()
        leave(Exit.PREEMPTED)
        """
    )
    done = subprocess.run([sys.executable, "-c", program], timeout=60, check=False)
    assert done.returncode == Exit.PREEMPTED


def test_rank_0s_clock_decides_for_all(tmp_path: Path) -> None:
    """A save every tenth of a second, by two clocks: ranks that disagreed would wait for each other for ever."""
    case = Case(steps=120, extra={"checkpoint": {"every": "0.05s", "keepLast": 100}})
    ended = values(run_ranks(TRAIN, 2, case, str(tmp_path)))
    assert all(torch.equal(one, other) for one, other in zip(ended[0].params, ended[1].params, strict=True))
    job = open_storage(str(tmp_path))
    head = read_head(scoped(job, current_run(job) or ""))
    assert head is not None
    assert len(head.commits) > 1
