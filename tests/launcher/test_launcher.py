"""One launcher and its ranks, as real processes."""

import json
import signal
import socket
import time
from pathlib import Path
from typing import Any

import pytest

from ktrain import names
from ktrain.names import Exit
from ktrain_launcher.program import modules
from tests.launcher.gang import Gang, document, gang, is_alive, kill, until
from tests.render.test_render import job


@pytest.mark.slow
def test_a_killed_rank_is_replaced_in_place_with_its_peers(tmp_path: Path) -> None:
    with gang(tmp_path, "ends.py", "0:kill", "0:0", "1:wait", "1:0", nproc=2) as job:
        codes = job.wait()
        first, second = job.epochs()
        verdict = json.loads(next((job.run / "state").glob("verdict-*")).read_text())
        node = job.nodes[0]
    assert codes == [0]
    assert len(job.marks("start0")) == len(job.marks("start1")) == 2
    assert not any(is_alive(int(pid)) for pid in job.marks("start1"))
    assert (first["cause"], first["exit_codes"]) == ("killed", {"0": 137})
    assert first["first_failure"]["rank"] == 0
    assert (second["cause"], second["exit_codes"], second["epoch"]) == ("done", {"0": 0, "1": 0}, 2)
    assert verdict["logs"] == {"0": ["rank 0 start 1"], "1": ["rank 1 start 1"]}
    assert "[rank 0] rank 0 start 0\n" in node.output
    assert (job.run / names.KEY_DONE).exists()
    assert node.termination["cause"] == "done"


@pytest.mark.slow
def test_failures_beyond_the_budget_end_the_pod_with_their_code(tmp_path: Path) -> None:
    restart = {"inPlace": 1, "backoff": {"base": "10ms", "cap": "10ms"}}
    with gang(tmp_path, "ends.py", "kill", spec={"restart": restart}) as job:
        codes = job.wait()
        verdict = json.loads(next((job.run / "state").glob("verdict-*")).read_text())
    assert codes == [Exit.KILLED]
    assert len(job.marks("start0")) == 2
    assert job.nodes[0].termination["cause"] == "killed"
    assert verdict["message"] == "rank 0 was killed by signal 9 (usually out of memory)"
    assert verdict["logs"]["0"] == ["rank 0 start 1"]
    assert "Traceback" not in job.output


@pytest.mark.slow
def test_a_script_that_is_broken_is_not_tried_again(tmp_path: Path) -> None:
    with gang(tmp_path, "ends.py", "raise") as job:
        codes = job.wait()
    assert codes == [Exit.USER]
    assert len(job.marks("start0")) == 1
    assert job.nodes[0].termination["message"] == "rank 0 exited with 1: RuntimeError: this script is broken"
    assert not (job.run / names.KEY_DONE).exists()


@pytest.mark.slow
def test_sigterm_reaches_each_rank_once_and_none_outlives_the_grace(tmp_path: Path) -> None:
    with gang(tmp_path, "polite.py", "143", "ignore", nproc=2, spec={"preemption": {"grace": "2s"}}) as job:
        until(lambda: len(job.marks("helpers")) == 2 and job.marks("start1"))
        kill(job.nodes[0].process.pid, signal.SIGTERM)
        codes = job.wait()
    assert codes == [Exit.PREEMPTED]
    assert (job.marks("asked0"), job.marks("helper0")) == (["1"], ["None"])
    assert not any(is_alive(int(pid)) for pid in job.marks("start0") + job.marks("start1") + job.marks("helpers"))
    assert job.nodes[0].termination["cause"] == "preempted"


@pytest.mark.slow
def test_a_second_ctrl_c_waits_for_nothing(tmp_path: Path) -> None:
    with gang(tmp_path, "polite.py", "ignore", spec={"preemption": {"grace": "10m"}}) as job:
        until(lambda: job.marks("start0"))
        kill(job.nodes[0].process.pid, signal.SIGINT)
        until(lambda: job.nodes[0].status()["state"] == "stopping")
        kill(job.nodes[0].process.pid, signal.SIGINT)
        codes = job.wait()
    assert codes == [Exit.KILLED]
    assert not is_alive(int(job.marks("start0")[0]))


@pytest.mark.slow
def test_a_rank_that_is_told_to_stop_alone_costs_nothing(tmp_path: Path) -> None:
    # A gang that has made steps is restarted for free; polite.py reports none, so one failure is allowed for.
    restart = {"inPlace": 1, "backoff": {"base": "10ms", "cap": "10ms"}}
    with gang(tmp_path, "polite.py", "143", "143", nproc=2, spec={"restart": restart}) as job:
        until(lambda: job.marks("start0") and job.marks("start1"))
        kill(int(job.marks("start1")[0]), signal.SIGTERM)
        codes = job.wait()
        first = job.epochs()[0]
    assert codes == [0]
    assert first["exit_codes"] == {"0": 203, "1": 143}
    assert (first["cause"], first["first_failure"]["rank"]) == ("preempted", 1)


@pytest.mark.slow
def test_a_killed_launcher_takes_its_ranks_and_their_helpers_along(tmp_path: Path) -> None:
    with gang(tmp_path, "polite.py", "ignore", "ignore", nproc=2) as job:
        until(lambda: len(job.marks("helpers")) == 2 and job.marks("start0") and job.marks("start1"))
        pids = [int(pid) for pid in job.marks("start0") + job.marks("start1") + job.marks("helpers")]
        assert all(map(is_alive, pids))
        kill(job.nodes[0].process.pid)
        job.nodes[0].process.wait()
        until(lambda: not any(map(is_alive, pids)))


@pytest.mark.slow
def test_a_rank_without_a_step_shows_its_stack_and_is_replaced(tmp_path: Path) -> None:
    with gang(tmp_path, "steps.py", spec={"hang": {"timeout": "1s"}}) as job:
        codes = job.wait()
        first = job.epochs()[0]
    assert codes == [0]
    assert (first["cause"], first["exit_codes"], first["step"]) == ("hang", {"0": Exit.HANG}, 3)
    assert "made no step for 1 s (step 3, phase train)" in first["first_failure"]["message"]
    assert "in hang_here" in job.output
    assert job.nodes[0].termination["checkpoint"] == 2


@pytest.mark.slow
def test_ranks_find_torchruns_environment_ours_and_their_own(tmp_path: Path) -> None:
    args = ("$$HOME", "${local_rank}", "two words", "")
    with gang(tmp_path, "env.py", *args, nproc=2, spec={"env": {"MINE": "1", "RANK": "7"}}) as job:
        assert job.wait() == [0]
    found = json.loads((tmp_path / "found1.json").read_text())
    env = found["env"]
    assert found["argv"] == list(args)
    assert found["cwd"] == str(Path(__file__).parent / "scripts")
    expected = {
        "RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "LOCAL_WORLD_SIZE": "2", "GROUP_RANK": "0",
        "MASTER_ADDR": "127.0.0.1", "TORCHELASTIC_USE_AGENT_STORE": "True", "TORCHELASTIC_RESTART_COUNT": "0",
        "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1", "TORCH_CPP_LOG_LEVEL": "ERROR", "MINE": "1",
        names.ENV_ATTEMPT: "1", names.ENV_EPOCH: "1", names.ENV_RUN: job.run.name,
    }  # fmt: skip
    assert {name: env[name] for name in expected} == expected
    assert Path(env[names.ENV_SPEC]).is_absolute()
    assert int(env["MASTER_PORT"]) != job.rdzv_port


def test_a_finished_run_is_left_alone(tmp_path: Path) -> None:
    run = tmp_path / "runs/default/job/00000000-0000-0000-0000-000000000000"
    (run / "state").mkdir(parents=True)
    (run / names.KEY_DONE).write_text("{}")
    begun = time.monotonic()
    with gang(tmp_path, "ends.py", "70", env={names.ENV_RUN: run.name}) as job:
        assert job.wait() == [0]
    assert job.marks("start0") == []
    assert job.nodes[0].termination["message"] == "the run is complete already"
    assert "torch" not in job.output
    assert time.monotonic() - begun < 60


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        pytest.param({names.ENV_NUM_NODES: "x"}, "KTRAIN_NUM_NODES is 'x'", id="environment"),
        pytest.param({names.ENV_SPEC: "/no/spec.json"}, "/no/spec.json cannot be read", id="no spec"),
        pytest.param({names.ENV_STORAGE_URL: "ftp://x"}, "expected s3://", id="storage"),
    ],
)
def test_a_wrong_setting_ends_in_one_sentence(tmp_path: Path, change: dict[str, str], sentence: str) -> None:
    with gang(tmp_path, "ends.py", "0", env=change) as job:
        codes = job.wait()
    assert codes[0] in {Exit.SPEC, Exit.STORAGE}
    assert sentence in job.output
    assert "Traceback" not in job.output


def test_a_taken_metrics_port_is_a_wrong_spec(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with gang(tmp_path, "ends.py", "0", env={names.ENV_METRICS_PORT: port}) as job:
            assert job.wait() == [Exit.SPEC]
    assert f"port {port} for metrics cannot be bound" in job.nodes[0].termination["message"]


def test_a_wrong_document_is_told_with_its_place(tmp_path: Path) -> None:
    wrong = document("ends.py")
    wrong["spec"]["restart"]["inPlace"] = "many"
    job = Gang(tmp_path, wrong)
    assert job.start(0).wait() == Exit.SPEC
    assert "spec.restart.inPlace" in job.output
    assert "Traceback" not in job.output


def warm_modules(**trainer: Any) -> list[str]:
    spec = job().spec.trainer
    assert spec
    return modules(job(trainer={**spec.model_dump(mode="json", by_alias=True, exclude_unset=True), **trainer}))


def test_the_compiler_is_imported_ahead_for_those_who_need_it_and_for_nobody_else() -> None:
    assert "torch._dynamo" in warm_modules(parallel={"strategy": "fsdp2"})
    assert "torch._dynamo" in warm_modules(parallel={"recompute": "full"})
    assert "torch._dynamo" in warm_modules(compile={})
    assert "torch._dynamo" not in warm_modules(parallel={"strategy": "ddp"})
