"""The budget of a whole job, kept by real launchers that are made again and again, as the cluster's operator would."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ktrain import names
from ktrain.names import CliExit, Exit
from tests.launcher.gang import ROOT, SCRIPTS, Gang, gang, kill, until

pytestmark = pytest.mark.slow

LONG = {"base": "10m", "cap": "10m"}


def budget(most: int, *, in_place: int = 0, backoff: dict[str, str] | None = None) -> dict[str, Any]:
    return {"restart": {"max": most, "inPlace": in_place, "backoff": backoff or {"base": "10ms", "cap": "20ms"}}}


def operate(job: Gang) -> list[int]:
    """Exit codes of node 0's launchers, made again until one ends for good."""
    codes = [job.start(0).wait()]
    while codes[-1] >= 128 and len(codes) < 9:
        codes.append(job.start(0).wait())
    return codes


def verdict(job: Gang) -> dict[str, Any]:
    """The newest of node 0."""
    found: dict[str, Any] = json.loads(max((job.run / names.DIR_STATE).glob("verdict-*-node0.json")).read_text())
    return found


def test_a_job_that_only_fails_is_given_up(tmp_path: Path) -> None:
    with gang(tmp_path, "ends.py", "kill", spec=budget(2), start=[]) as job:
        codes = operate(job)
        told = verdict(job)
        records = job.epochs()
    assert codes == [Exit.KILLED] * 3 + [Exit.EXHAUSTED]
    sentence = (
        "gave up after 3 failures in 1h without a newer checkpoint; "
        "the last one: rank 0 was killed by signal 9 (usually out of memory)"
    )
    assert [record["cause"] for record in records] == ["killed"] * 3 + ["exhausted"]
    assert [record["counted"] for record in records] == [True] * 3 + [False]
    assert len(job.marks("start0")) == 3
    said = job.nodes[0].termination
    assert (said["cause"], said["rank"], said["message"]) == ("exhausted", 0, sentence)
    assert (told["code"], told["message"], told["logs"]) == (Exit.EXHAUSTED, sentence, {"0": ["rank 0 start 2"]})


def test_a_commit_between_failures_gives_the_budget_back(tmp_path: Path) -> None:
    with gang(tmp_path, "saves.py", "1", spec=budget(1, in_place=9)) as job:
        codes = job.wait()
    assert codes == [Exit.EXHAUSTED]
    assert len(job.marks("start0")) == 4  # without the commit of the second, two
    assert "gave up after 2 failures" in job.nodes[0].termination["message"]


def test_a_launcher_that_was_killed_counts_as_well(tmp_path: Path) -> None:
    with gang(tmp_path, "ends.py", "wait", spec=budget(0)) as job:
        until(lambda: job.marks("start0"))
        kill(job.nodes[0].process.pid)
        job.nodes[0].wait()
        codes = operate(job)
    assert codes == [Exit.EXHAUSTED]
    assert "epoch a0001-e0001 ended without a word" in job.nodes[0].termination["message"]


def test_a_launcher_that_was_killed_on_another_node_counts_as_well(tmp_path: Path) -> None:
    with gang(tmp_path, "ends.py", "wait", num_nodes=2, spec=budget(0)) as job:
        until(lambda: job.marks("start0") and job.marks("start1"))
        kill(job.nodes[1].process.pid)
        job.nodes[1].wait()
        job.start(1)
        codes = job.wait()
    assert codes == [Exit.EXHAUSTED] * 2
    assert "the last one: the launcher of node 1 was killed" in job.nodes[0].termination["message"]


def test_all_launchers_end_alike(tmp_path: Path) -> None:
    with gang(tmp_path, "ends.py", "0:wait", "1:kill", num_nodes=2, spec=budget(1, in_place=9)) as job:
        codes = job.wait()
        said = [job.nodes[node].termination for node in (0, 1)]
    assert codes == [Exit.EXHAUSTED] * 2
    assert said[0]["message"] == said[1]["message"]
    assert [(it["cause"], it["rank"]) for it in said] == [("exhausted", 1)] * 2


def test_what_was_preempted_or_stopped_is_free(tmp_path: Path) -> None:
    with gang(tmp_path, "polite.py", "143", spec=budget(0)) as job:
        until(lambda: job.marks("start0"))
        kill(job.nodes[0].process.pid, signal.SIGTERM)
        assert job.nodes[0].wait() == Exit.PREEMPTED
        assert operate(job) == [0]


def test_a_pause_is_shown_and_left_at_once_when_told_to_go(tmp_path: Path) -> None:
    with gang(tmp_path, "ends.py", "kill", spec=budget(9, in_place=9, backoff=LONG)) as job:
        until(lambda: "event=parked" in job.output)
        note = job.nodes[0].status()["note"]
        kill(job.nodes[0].process.pid, signal.SIGTERM)
        codes = job.wait()
    assert codes == [Exit.PREEMPTED]
    assert "failures=2" in job.output
    assert note.endswith("s more before the next try, after 2 failures")
    assert len(job.marks("start0")) == 2


def test_a_pause_outlives_the_launcher(tmp_path: Path) -> None:
    with gang(tmp_path, "ends.py", "kill", num_nodes=1, spec=budget(9, backoff=LONG), start=[]) as job:
        codes = [job.start(0).wait(), job.start(0).wait()]
        last = job.start(0)
        until(lambda: "event=parked" in last.output)
        kill(last.process.pid, signal.SIGTERM)
        codes.append(last.wait())
    assert codes == [Exit.KILLED, Exit.KILLED, Exit.PREEMPTED]


def test_a_broken_image_does_not_come_back_for_ever(tmp_path: Path) -> None:
    (tmp_path / "broken/torch").mkdir(parents=True)
    (tmp_path / "broken/torch/__init__.py").write_text("raise RuntimeError('no such library')")
    env = {"PYTHONPATH": f"{tmp_path / 'broken'}:{ROOT}"}
    with gang(tmp_path, "ends.py", "0", spec=budget(1), env=env, start=[]) as job:
        codes = operate(job)
    assert codes == [Exit.PEER, Exit.EXHAUSTED]
    assert job.nodes[0].termination["message"] == (
        "gave up after 2 failures in 1h without a newer checkpoint; "
        "the last one: node 0: the launcher failed: RuntimeError: "
        "the ranks' store cannot be opened: RuntimeError: no such library"
    )


def test_ktrain_run_ends_the_same_way(tmp_path: Path) -> None:
    spec = {"code": {"dir": str(SCRIPTS)}, "script": {"path": "ends.py", "args": ["kill"]}, **budget(1)}
    job = {"apiVersion": names.API_VERSION, "kind": names.KIND, "metadata": {"name": "job"}, "spec": spec}
    (tmp_path / "job.yaml").write_text(json.dumps(job))
    done = subprocess.run(
        [sys.executable, "-m", "ktrain", "run", "job.yaml"], cwd=tmp_path, capture_output=True, text=True, timeout=90,
        env={"PYTHONPATH": str(ROOT), "GANG_FOLDER": str(tmp_path), "PATH": ""}, check=False,
    )  # fmt: skip
    assert done.returncode == CliExit.JOB_FAILED, done.stderr
    assert "exhausted (exit 69) on rank 0: gave up after 2 failures in 1h without a newer checkpoint" in done.stderr
