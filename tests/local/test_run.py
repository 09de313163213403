"""`ktrain run` with everything real: launchers, ranks, signals, storage."""

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from ktrain.names import CliExit
from ktrain.records import read_records
from tests.local.commands import DEADLINE, LONG, ktrain_run, run_storage, running, step
from tests.local.processes import children, named, wait_until_gone

pytestmark = pytest.mark.slow


def test_the_template_trains_to_its_end_and_says_what_is_next(folder: Path) -> None:
    done = ktrain_run(folder, "-o", "json")
    answer = json.loads(done.stdout)
    assert done.returncode == CliExit.OK, done.stderr
    assert answer["step"] == 625
    assert answer["metrics"]["val/accuracy"] > 0.98
    assert "ktrain report job.yaml" in done.stderr
    again = ktrain_run(folder)
    assert again.returncode == CliExit.OK
    assert "already done, at step 625" in again.stderr
    longer = ktrain_run(folder, "--set", "trainer.duration=22ep")
    assert "resuming run" in longer.stderr
    assert step(folder) == 688


def test_ctrl_c_saves_and_the_next_run_goes_on(folder: Path) -> None:
    with running(folder, *LONG) as process:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=DEADLINE)
        assert process.returncode == CliExit.INTERRUPTED
    saved = step(folder)
    assert f"saved at step {saved}" in err
    resumed = ktrain_run(folder, "--set", f"trainer.duration={saved + 100}step")
    assert resumed.returncode == CliExit.OK, resumed.stderr
    assert f"from step {saved}" in resumed.stderr
    starts = read_records(run_storage(folder)).of("start")
    assert [record["restored_step"] for record in starts] == [0, saved]


def test_a_killed_rank_is_replaced_and_training_goes_on(folder: Path) -> None:
    with running(folder, *LONG) as process:
        ranks = named(children(process.pid), "ktrain_trainer")
        os.kill(ranks[-1], signal.SIGKILL)
        assert process.stderr is not None
        restored = next(int(found[1]) for line in process.stderr if (found := re.search(r"restored_step=(\d+)", line)))
        assert restored >= 50
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=DEADLINE)
        assert process.returncode == CliExit.PREEMPTED


def test_a_killed_launcher_is_started_again(folder: Path) -> None:
    with running(folder, *LONG, "--nodes", "2", "--procs", "1") as process:
        launchers = named(children(process.pid), "ktrain_launcher")
        os.kill(launchers[1], signal.SIGKILL)
        assert process.stderr is not None
        told = [line for line in _until(process.stderr, "restored_step=") if "starting it again" in line]
        assert told
        assert told[0].startswith("ktrain: node ")
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=DEADLINE)
        assert process.returncode == CliExit.INTERRUPTED


def _until(lines: Iterator[str], text: str) -> Iterator[str]:
    for line in lines:
        yield line
        if text in line:
            return


def test_a_second_run_takes_over_and_the_first_gives_way(folder: Path) -> None:
    with running(folder, *LONG) as first, running(folder, *LONG) as second:
        _, told = first.communicate(timeout=DEADLINE)
        assert first.returncode == CliExit.CONFLICT
        assert "another process has taken this run over" in told
        second.send_signal(signal.SIGTERM)
        second.communicate(timeout=DEADLINE)
        assert second.returncode == CliExit.PREEMPTED


def test_nothing_outlives_a_killed_run(folder: Path) -> None:
    with running(folder, *LONG) as process:
        below = children(process.pid)
        assert len(named(below, "ktrain_trainer")) == 2
        process.kill()
        process.communicate()
        wait_until_gone(below)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("trainer.model.use=train:Nett", "train has no 'Nett'; did you mean 'Net'?"),
        ("trainer.data.val.args.split=tset", "KeyError: 'tset'"),
        (
            "trainer.earlyStop.monitor=val/f1",
            "earlyStop.monitor is val/f1, but evaluation gives val/accuracy, val/loss",
        ),
    ],
    ids=["model", "data", "monitor"],
)
def test_a_mistake_in_the_job_fails_it_with_a_sentence(change: str, told: str, folder: Path) -> None:
    done = ktrain_run(folder, "--set", change)
    assert done.returncode == CliExit.JOB_FAILED
    assert told in done.stderr
    assert "ktrain_trainer/worker.py" not in done.stderr


def test_a_mended_mistake_needs_no_fresh_when_nothing_was_trained(folder: Path) -> None:
    assert ktrain_run(folder, "--set", "trainer.model.args.width=wide").returncode == CliExit.JOB_FAILED
    assert ktrain_run(folder, "--set", "trainer.duration=50step").returncode == CliExit.OK


def test_user_code_that_fails_is_shown_with_its_traceback(folder: Path) -> None:
    text = (folder / "train.py").read_text(encoding="utf-8")
    broken = text.replace("return self.points[index]", "return self.points[index + 1990]")
    (folder / "train.py").write_text(broken, encoding="utf-8")
    done = ktrain_run(folder)
    assert done.returncode == CliExit.JOB_FAILED
    assert "(exit 70)" in done.stderr
    assert "IndexError" in done.stderr
    assert "train.py" in done.stderr


def test_a_changed_seed_is_refused_before_anything_starts(folder: Path) -> None:
    assert ktrain_run(folder, "--set", "trainer.duration=100step").returncode == CliExit.OK
    refused = ktrain_run(folder, "--set", "trainer.seed=3")
    assert refused.returncode == CliExit.SPEC
    assert "spec.trainer.seed was 0 when this run began; it is 3 now" in refused.stderr
    fresh = ktrain_run(folder, "--set", "trainer.seed=3", "--set", "trainer.duration=100step", "--fresh")
    assert fresh.returncode == CliExit.OK


def test_too_many_ranks_are_refused(folder: Path) -> None:
    done = ktrain_run(folder, "--procs", "5")
    assert done.returncode == CliExit.SPEC
    assert "5 ranks share 4 micro-batches a step" in done.stderr


def test_storage_that_cannot_be_written_is_told(folder: Path) -> None:
    (folder / "runs").write_text("a file", encoding="utf-8")
    done = ktrain_run(folder)
    assert done.returncode == CliExit.FAILED
    assert "runs" in done.stderr
    assert "Traceback" not in done.stderr
