"""`ktrain chaos` as a process."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ktrain.names import CliExit

LINE = "        return self.points[index]"


def ktrain_chaos(folder: Path, *args: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "ktrain", "chaos", "job.yaml", *args],
        cwd=folder, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What `ktrain init` writes, with steps that take their time."""
    subprocess.run([sys.executable, "-m", "ktrain", "init", str(tmp_path / "demo")], check=True, capture_output=True)
    code = tmp_path / "demo/train.py"
    text = code.read_text(encoding="utf-8")
    assert LINE in text
    code.write_text(text.replace(LINE, f"        __import__('time').sleep(0.001)\n{LINE}"), encoding="utf-8")
    return tmp_path / "demo"


def of(answer: "subprocess.CompletedProcess[str]") -> dict[str, dict[str, Any]]:
    """Verdicts by name."""
    return {it["name"]: it for it in json.loads(answer.stdout)["verdicts"]}


SETS = ("--set", "trainer.checkpoint={every: 20step, memoryEvery: 1step}", "--set", "trainer.eval.every=100000step",
        "--set", "restart.backoff={base: 100ms, cap: 1s}", "--set", "restart.max=100")  # fmt: skip


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_faults_change_no_bit(folder: Path) -> None:
    faults = [it for kind in ("rank-kill", "pod-kill", "preempt", "storage-outage") for it in ("--fault", kind)]
    answer = ktrain_chaos(
        folder, "--seed", "9", "--count", "3", "--every", "2s", *faults, *SETS, "--set", "trainer.duration=200step", "-o", "json"
    )  # fmt: skip
    assert answer.returncode == CliExit.OK, answer.stderr
    told = json.loads(answer.stdout)
    verdicts = of(answer)
    assert set(verdicts) == {"ends", "resumes", "saves", "loses", "recovers", "curve", "state"}
    assert len(told["faults"]) == 3
    assert told["recoveries"]
    assert 0 < told["goodput"] < 1
    assert "bit for bit" in verdicts["curve"]["told"]
    assert not (folder / "runs").exists()  # the job's own storage is not touched


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_elastic_job_goes_on_while_a_node_is_away(folder: Path) -> None:
    answer = ktrain_chaos(
        folder, "--seed", "5", "--count", "1", "--every", "3s", "--fault", "pod-loss", "--procs", "1", "--set", "nodes={min: 1, max: 2}",
        *SETS, "--set", "trainer.duration=200step", "-o", "json",
    )  # fmt: skip
    assert answer.returncode == CliExit.OK, answer.stderr
    verdicts = of(answer)
    assert "as the number of ranks changed" in verdicts["curve"]["told"]
    assert "state" not in verdicts


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_job_that_gives_up_has_failed(folder: Path) -> None:
    answer = ktrain_chaos(
        folder, "--count", "9", "--every", "1s", "--fault", "rank-kill", "--set", "restart.max=1",
        "--set", "trainer.checkpoint.every=100000step", "--set", "trainer.duration=100000step", "--no-twin", "-o", "json",
    )  # fmt: skip
    assert answer.returncode == CliExit.JOB_FAILED, answer.stderr
    assert of(answer)["ends"]["told"].startswith("gave up after")


def test_a_plan_is_only_told(folder: Path) -> None:
    answer = ktrain_chaos(folder, "--plan", "--count", "3", "--seed", "1")
    assert answer.returncode == CliExit.OK
    assert len(answer.stdout.splitlines()) == 3
    assert answer.stdout == ktrain_chaos(folder, "--plan", "--count", "3", "--seed", "1").stdout


@pytest.mark.parametrize(
    ("args", "told"),
    [(("--fault", "meteor"), "error: --fault: 'meteor' is no fault; there are rank-kill, pod-kill"),
     (("--every", "0s"), "error: --every: the time between two faults must be more than nothing"),
     (("--every", "soon"), "error: --every: 'soon' is no length of time")],
)  # fmt: skip
def test_a_mistake_gets_one_sentence(folder: Path, args: tuple[str, ...], told: str) -> None:
    answer = ktrain_chaos(folder, *args)
    assert answer.returncode == CliExit.USAGE
    assert told in answer.stderr.replace("Invalid value: ", "")
    assert "Traceback" not in answer.stderr
