"""`ktrain tune` with real jobs: trials train, are given up, are interrupted, and go on."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from ktrain.history import current_run
from ktrain.names import CliExit
from ktrain.records import read_records
from ktrain.storage import open_storage, scoped
from tests.cli.test_cli import ktrain
from tests.local.processes import children, named, wait_until_gone

SMALL = (
    "procsPerNode=1", "trainer.duration=60step", "trainer.eval.every=20step", "trainer.checkpoint.every=20step",
    "trainer.data.train.args.size=256", "trainer.data.val.args.size=128",
)  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    assert ktrain("init", str(tmp_path / "demo")).returncode == CliExit.OK
    return tmp_path / "demo"


def tune(*sets: str) -> list[str]:
    words = [word for it in (*SMALL, *sets) for word in ("--set", it)]
    return [sys.executable, "-m", "ktrain", "tune", "job.yaml", *words]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_search_is_interrupted_and_goes_on_to_its_end(folder: Path) -> None:
    """The first point of the grid is good and is interrupted, the second learns nothing and is given up."""
    sets = (
        "tune={space: {trainer.optim.lr: {choices: [1.0e-9, 0.01]}}, sampler: grid, pruner: median, prunerArgs: {n_startup_trials: 1}}",
        "trainer.duration=2000step",
        "trainer.eval.every=200step",
    )
    process = subprocess.Popen(tune(*sets), cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
    first = scoped(open_storage(str(folder / "runs")), "default/demo-t0")
    assert process.stderr is not None
    assert "trial 0: trainer.optim.lr=0.01" in process.stderr.readline()
    while not ((run := current_run(first)) and read_records(scoped(first, run)).of("checkpoint")):
        assert process.poll() is None
        time.sleep(0.05)
    below = children(process.pid)
    assert len(named(below, "ktrain_trainer")) == 1
    process.send_signal(signal.SIGINT)
    assert process.wait(300) == CliExit.INTERRUPTED
    wait_until_gone(below)
    assert "trial 0: stopped; the next `ktrain tune` goes on with it" in process.stderr.read()
    process.stderr.close()

    done = subprocess.run([*tune(*sets), "-o", "json"], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == CliExit.OK, done.stderr
    good, bad = json.loads(done.stdout)["trials"]
    assert (good["number"], good["state"], bad["state"]) == (0, "done", "given up")
    starts = read_records(scoped(first, run)).of("start")
    assert len(starts) == 2
    assert starts[1]["restored_step"] >= 20
    assert good["run"].endswith(run)
    assert len(bad["values"]) < len(good["values"]) == 10
    assert "next: " in done.stderr
    assert "--set trainer.optim.lr=0.01" in done.stderr
    assert (folder / "studies" / "demo" / "study.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_trial_that_cannot_be_built_fails_with_its_reason(folder: Path) -> None:
    done = subprocess.run(
        tune("tune={space: {trainer.model.args.widht: {choices: [1]}}, sampler: grid}"),
        cwd=folder, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == CliExit.JOB_FAILED
    assert "trial 0: failed: " in done.stderr
    assert "did you mean 'width'?" in done.stderr
    assert "no trial came to its end: mend the job" in done.stderr
    assert [line.split()[:2] for line in done.stdout.splitlines()[1:]] == [["0", "failed"]]


def test_a_job_without_a_search_says_what_to_write(folder: Path) -> None:
    done = ktrain("tune", "job.yaml", cwd=folder)
    assert done.returncode == CliExit.SPEC
    assert "job.yaml has no spec.tune; write what to search for" in done.stderr
