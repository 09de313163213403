"""What a running pod is asked by its annotation, which here is a plain file, as the downward API makes one."""

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from ktrain import names
from ktrain.names import Exit
from ktrain.request import Answer, Ask, Request, answer_key
from tests.launcher.gang import Gang, gang, is_alive, kill, until


def ask(job: Gang, request: Request, folder: Path) -> None:
    """As the kubelet does: all at once."""
    new = folder / "new"
    new.write_text(request.encode())
    new.rename(folder / "request")


def answer(job: Gang, request: Request) -> Answer:
    path = job.run / answer_key(request.id, 0)
    until(path.exists)
    return Answer.read(json.loads(path.read_text()))


def asked(job: Gang, what: Ask, folder: Path, *, rank: int | None = None) -> Answer:
    request = Request.new(what, rank=rank)
    ask(job, request, folder)
    return answer(job, request)


def head(job: Gang) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((job.run / names.KEY_HEAD).read_text())
    return found


def step(job: Gang) -> int:
    return max((int(rank.get("step", 0)) for rank in job.nodes[0].status()["ranks"]), default=0)


def listening(folder: Path) -> dict[str, str]:
    return {names.ENV_REQUEST: str(folder / "request")}


@pytest.mark.slow
@pytest.mark.parametrize("nproc", [1, 2])
def test_a_checkpoint_is_made_when_asked_for_and_training_goes_on(tmp_path: Path, nproc: int) -> None:
    with gang(tmp_path, "asked.py", nproc=nproc, env=listening(tmp_path)) as job:
        until(lambda: step(job) >= 3)
        assert head(job)["commits"] == []
        told = asked(job, Ask.CHECKPOINT, tmp_path)
        committed = [commit["step"] for commit in head(job)["commits"]]
        until(lambda: step(job) > committed[-1] + 3)
        shown = job.nodes[0].status()["answer"]
        (tmp_path / "enough").touch()
        codes = job.wait()
    assert told.ok, told
    assert committed == [told.step]
    assert (shown["id"], shown["step"]) == (told.id, told.step)
    assert codes == [0]
    assert len(job.marks("start0")) == 1


@pytest.mark.slow
def test_stacks_name_where_each_rank_stands(tmp_path: Path) -> None:
    with gang(tmp_path, "asked.py", nproc=2, env=listening(tmp_path)) as job:
        until(lambda: step(job) >= 1)
        told = asked(job, Ask.STACKS, tmp_path)
        (tmp_path / "enough").touch()
        assert job.wait() == [0]
    assert told.ok
    assert set(told.stacks) == {"0", "1"}
    assert all("asked.py" in "\n".join(lines) for lines in told.stacks.values())


@pytest.mark.slow
def test_the_next_steps_of_one_rank_are_recorded_and_training_goes_on(tmp_path: Path) -> None:
    with gang(tmp_path, "asked.py", nproc=2, env=listening(tmp_path)) as job:
        until(lambda: step(job) >= 1)
        told = asked(job, Ask.PROFILE, tmp_path, rank=1)
        nobody = asked(job, Ask.PROFILE, tmp_path, rank=2)
        until(lambda: step(job) > (told.step or 0) + 3)
        (tmp_path / "enough").touch()
        assert job.wait() == [0]
    assert told.ok, told
    folder = job.run / names.DIR_PROFILES / f"step-{told.step:09d}"
    assert told.message == f"file://{folder}/rank-00001"
    assert sorted(path.name for path in folder.iterdir()) == ["rank-00001.trace.json.gz", "rank-00001.txt"]
    assert (nobody.ok, nobody.message) == (False, "rank 2 does not run in this pod now")


@pytest.mark.slow
def test_a_profile_that_does_not_come_keeps_nobody_else_waiting(tmp_path: Path) -> None:
    with gang(tmp_path, "asked.py", env=listening(tmp_path)) as job:
        until(lambda: step(job) >= 1)
        (tmp_path / "wait").touch()  # no step is made any more
        first, second = Request.new(Ask.PROFILE, rank=0), Request.new(Ask.STACKS)
        ask(job, first, tmp_path)
        until(lambda: f"event=request ask=profile id={first.id}" in job.output)
        ask(job, second, tmp_path)
        stacks, profile = answer(job, second), answer(job, first)
        (tmp_path / "wait").unlink()
        (tmp_path / "enough").touch()
        assert job.wait() == [0]
    assert stacks.ok
    assert (profile.ok, profile.message) == (False, "rank 0 has not made all steps of a profile yet")


@pytest.mark.slow
def test_a_stop_saves_ends_the_ranks_and_waits_for_sigterm(tmp_path: Path) -> None:
    with gang(tmp_path, "asked.py", nproc=2, env=listening(tmp_path)) as job:
        until(lambda: step(job) >= 3)
        told = asked(job, Ask.STOP, tmp_path)
        held = job.nodes[0].status()
        ranks = [int(pid) for pid in job.marks("start0") + job.marks("start1")]
        are_gone = not any(is_alive(pid) for pid in ranks)
        kill(job.nodes[0].process.pid, signal.SIGTERM)
        codes = job.wait()
    assert told.ok
    assert told.step == head(job)["commits"][-1]["step"]
    assert held["state"] == "held"
    assert are_gone
    assert len(ranks) == 2
    assert codes == [Exit.PREEMPTED]


@pytest.mark.slow
def test_one_pod_that_is_asked_to_stop_stops_the_gang_and_nobody_trains_without_it(tmp_path: Path) -> None:
    with gang(tmp_path, "asked.py", num_nodes=2) as job:
        # Only node 1 has the file, as when the annotation is on its pod alone.
        kill(job.nodes[1].process.pid)
        job.nodes[1].process.wait()
        job.env = listening(tmp_path)
        job.start(1)
        until(lambda: job.marks("start1") and step(job) >= 3)
        request = Request.new(Ask.STOP)
        ask(job, request, tmp_path)
        until(lambda: job.nodes[1].status()["state"] == "held")
        until(lambda: job.nodes[0].status()["state"] == "rendezvous")
        for node in job.nodes.values():
            kill(node.process.pid, signal.SIGTERM)
        codes = job.wait()
    assert codes == [Exit.PREEMPTED, Exit.PREEMPTED]
    assert head(job)["commits"]


@pytest.mark.slow
def test_a_request_is_answered_once_though_the_container_is_made_again(tmp_path: Path) -> None:
    with gang(tmp_path, "asked.py", env=listening(tmp_path)) as job:
        until(lambda: step(job) >= 1)
        first = asked(job, Ask.CHECKPOINT, tmp_path)
        kill(job.nodes[0].process.pid)
        job.nodes[0].process.wait()
        job.start(0)
        until(lambda: step(job) > (first.step or 0) + 5)
        commits = [commit["step"] for commit in head(job)["commits"]]
        (tmp_path / "enough").touch()
        assert job.wait() == [0]
    assert commits == [first.step]


@pytest.mark.slow
def test_a_garbled_request_is_a_line_in_the_log(tmp_path: Path) -> None:
    (tmp_path / "request").write_text("please stop everything")
    with gang(tmp_path, "asked.py", env=listening(tmp_path)) as job:
        until(lambda: "event=request_refused" in job.output)
        (tmp_path / "enough").touch()
        assert job.wait() == [0]
    assert "is no request; write one of checkpoint, stacks, profile, stop" in job.output
    assert not (job.run / names.DIR_ANSWERS).exists()
