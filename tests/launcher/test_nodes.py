"""Several launchers of one job, as if each had a machine of its own."""

import json
import signal
from itertools import pairwise
from pathlib import Path

import pytest

from ktrain import names
from ktrain.names import Exit
from tests.launcher.gang import gang, is_alive, kill, until

pytestmark = pytest.mark.slow


def test_gloo_survives_five_kills_on_two_nodes(tmp_path: Path) -> None:
    # With torchrun's one store for all restarts, 5 of 11 such restarts hung.
    kills = 5
    with gang(tmp_path, "gloo.py", str(kills), "20", num_nodes=2) as job:
        codes = job.wait()
        epochs = job.epochs()
    assert codes == [0, 0]
    assert job.marks("done0") == job.marks("done1") == [str(kills)]
    assert [epoch["cause"] for epoch in epochs] == ["killed"] * kills + ["done"]
    assert [epoch["first_failure"]["rank"] for epoch in epochs[:-1]] == [0, 1, 0, 1, 0]
    assert all(epoch["step"] >= 3 for epoch in epochs)
    gaps = [after["started"] - before["ended"] for before, after in pairwise(epochs)]
    assert max(gaps) < 5


def test_a_permanent_failure_ends_all_nodes_with_its_code(tmp_path: Path) -> None:
    with gang(tmp_path, "ends.py", "0:wait", "1:76", num_nodes=2) as job:
        codes = job.wait()
        (epoch,) = job.epochs()
        verdicts = [json.loads(path.read_text()) for path in sorted((job.run / "state").glob("verdict-*"))]
    assert codes == [Exit.NONFINITE, Exit.NONFINITE]
    assert (epoch["cause"], epoch["first_failure"]["rank"], epoch["exit_codes"]) == ("nonfinite", 1, {"1": 76})
    assert [verdict["rank"] for verdict in verdicts] == [1, 1]
    assert not is_alive(int(job.marks("start0")[0]))


def test_a_node_that_is_done_runs_again_when_another_has_to(tmp_path: Path) -> None:
    with gang(tmp_path, "ends.py", "0:0", "1:kill", "1:0", num_nodes=2) as job:
        codes = job.wait()
        epochs = job.epochs()
    assert codes == [0, 0]
    assert len(job.marks("start0")) == len(job.marks("start1")) == 2
    assert epochs[0]["exit_codes"] == {"0": 0, "1": 137}


def test_a_node_beyond_its_budget_leaves_and_the_other_waits_for_its_return(tmp_path: Path) -> None:
    with gang(tmp_path, "ends.py", "0:wait", "1:kill", num_nodes=2, spec={"restart": {"inPlace": 0}}) as job:
        gone = job.nodes[1].wait()
        until(lambda: job.nodes[0].status()["state"] == "rendezvous")
        assert not is_alive(int(job.marks("start0")[0]))
    assert gone == Exit.KILLED


def test_a_launcher_that_is_made_again_joins_the_next_epoch(tmp_path: Path) -> None:
    with gang(tmp_path, "ends.py", "wait", "0", num_nodes=2) as job:
        until(lambda: job.marks("start0") and job.marks("start1"))
        kill(job.nodes[1].process.pid)
        job.nodes[1].process.wait()
        job.start(1)
        codes = job.wait()
        epochs = job.epochs()
    assert codes == [0, 0]
    assert len(job.marks("start0")) == len(job.marks("start1")) == 2
    assert [epoch["epoch"] for epoch in epochs] == [1, 2]
    assert not is_alive(int(job.marks("start0")[0]))


def test_a_launcher_that_was_replaced_while_it_lived_leaves(tmp_path: Path) -> None:
    with gang(tmp_path, "ends.py", "wait", "0", num_nodes=2) as job:
        until(lambda: job.marks("start0") and job.marks("start1"))
        zombie = job.nodes[1]
        job.start(1)
        assert zombie.wait() == Exit.MEMBERSHIP
        assert job.wait() == [0, 0]
    assert zombie.termination["message"] == "another launcher of node 1 has taken this one's place"
    assert len(job.marks("start1")) == 2


def test_without_node_0_the_others_wait_for_the_next_one(tmp_path: Path) -> None:
    with gang(tmp_path, "ends.py", "wait", "0", num_nodes=2) as job:
        until(lambda: job.marks("start0") and job.marks("start1"))
        kill(job.nodes[0].process.pid)
        job.nodes[0].process.wait()
        until(lambda: "event=node_0_lost" in job.nodes[1].output)
        until(lambda: not is_alive(int(job.marks("start1")[0])))
        until(lambda: "does not serve" in job.nodes[1].status()["note"])
        job.start(0)
        codes = job.wait()
        epochs = job.epochs()
    assert codes == [0, 0]
    assert len(job.marks("start0")) == len(job.marks("start1")) == 2
    assert [epoch["epoch"] for epoch in epochs] == [1, 2]


def test_one_that_waits_for_node_0_leaves_when_the_run_is_done(tmp_path: Path) -> None:
    with gang(tmp_path, "ends.py", "wait", num_nodes=2) as job:
        until(lambda: job.marks("start0") and job.marks("start1"))
        kill(job.nodes[0].process.pid)
        until(lambda: "event=node_0_lost" in job.nodes[1].output)
        (job.run / names.KEY_DONE).write_text("{}")
        assert job.nodes[1].wait() == 0


def test_an_elastic_job_goes_on_without_a_node_and_takes_it_back(tmp_path: Path) -> None:
    with gang(tmp_path, "elastic.py", num_nodes=2, spec={"nodes": {"min": 1, "max": 2}}) as job:
        until(lambda: "3" in job.marks("did"))
        kill(job.nodes[1].process.pid)
        job.nodes[1].process.wait()
        until(lambda: "of1" in job.marks("did"))
        until(lambda: int(job.marks("did")[-1].removeprefix("of")) > 6)
        job.start(1)
        until(lambda: job.marks("did").count("of2") == 2 and not job.marks("did")[-1].startswith("of"))
        (tmp_path / "enough").touch()
        codes = job.wait()
        epochs = job.epochs()
    did = job.marks("did")
    assert codes == [0, 0]
    assert [it for it in did if it.startswith("of")] == ["of2", "of1", "of2"]
    assert [epoch["cause"] for epoch in epochs] == ["peer", "membership", "done"]
    assert [epoch["counted"] for epoch in epochs] == [True, False, False]
    # What a node that joins makes the others stop for is saved: no step is made twice, and none is left out.
    steps = [int(it) for it in did[did.index("of1") + 1 :] if not it.startswith("of")]
    assert steps == list(range(steps[0], steps[-1] + 1))


def test_a_preempted_node_leaves_and_the_other_waits_for_its_return(tmp_path: Path) -> None:
    with gang(tmp_path, "polite.py", "143", "143", num_nodes=2) as job:
        until(lambda: job.marks("start0") and job.marks("start1"))
        kill(job.nodes[1].process.pid, signal.SIGTERM)
        gone = job.nodes[1].wait()
        until(lambda: job.nodes[0].status()["state"] == "rendezvous")
        parked = job.nodes[0].status()
        job.start(1)
        codes = job.wait()
        first = job.epochs()[0]
    assert gone == Exit.PREEMPTED
    assert all(not rank["alive"] for rank in parked["ranks"])
    assert codes == [0, 0]
    assert (first["cause"], first["exit_codes"]) == ("preempted", {"0": 203, "1": 143})


def test_all_nodes_told_to_stop_leave_as_preempted(tmp_path: Path) -> None:
    with gang(tmp_path, "polite.py", "143", "143", num_nodes=2) as job:
        until(lambda: job.marks("start0") and job.marks("start1"))
        for node in job.nodes.values():
            kill(node.process.pid, signal.SIGTERM)
        codes = job.wait()
    assert codes == [Exit.PREEMPTED, Exit.PREEMPTED]
    assert not (job.run / names.KEY_DONE).exists()


def test_a_launcher_that_waits_for_node_0_can_be_stopped(tmp_path: Path) -> None:
    with gang(tmp_path, "ends.py", "0", num_nodes=2, start=[1], env={names.ENV_RUN: "0" * 8}) as job:
        until(lambda: "event=waiting_for_node_0" in job.nodes[1].output)
        assert job.nodes[1].get("/healthz") == "ok\n"
        kill(job.nodes[1].process.pid, signal.SIGTERM)
        assert job.wait() == [Exit.PREEMPTED]
    assert job.marks("start1") == []
