"""The controller on a real cluster, as the chart installs it for one namespace: what it decides, and what it leaves alone."""

import json
import signal
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.cluster import controller
from hack.cluster.kubectl import apply, kubectl
from ktrain.cluster import JOB
from ktrain.names import ANNOTATION_POLICY, ANNOTATION_STATE
from tests.cluster import release
from tests.cluster.jobs import COUNT, CRASH, Job, admin, started, until, visits
from tests.cluster.steer import (
    STEERED,
    attempt,
    deletions,
    document,
    events,
    in_haste,
    prepare,
    reasons,
    signal_launcher,
    state,
    uids,
)

pytestmark = pytest.mark.slow
FOREIGN = "foreign"


@pytest.fixture(scope="module")
def steered(cluster: str, packaged: Path) -> Iterator[str]:
    """The chart's controllers of this one namespace, which have no right to look at nodes; returns the worker image."""
    prepare()
    one = (f"--set=watchNamespace={STEERED}", in_haste())
    with release.installed(packaged, *one, namespace=STEERED):
        yield cluster


def test_a_rank_that_is_killed_is_its_launchers_affair(steered: str) -> None:
    job = started("rank-killed", steered, namespace=STEERED)
    job.kill_ranks(1)
    assert job.wait("Succeeded", "Failed") == "Succeeded"
    assert visits(job.storage()) == {1.0}
    assert state(job).incidents == ()
    assert attempt(job) == 1


def test_a_deleted_pod_costs_the_budget_nothing(steered: str) -> None:
    job = started("pod-deleted", steered, namespace=STEERED)
    job.delete_pod(1)
    assert job.wait("Succeeded", "Failed") == "Succeeded"
    assert visits(job.storage()) == {1.0}
    assert state(job).incidents == ()


def test_a_pod_that_fails_is_counted_and_the_second_time_all_are_replaced(steered: str) -> None:
    job = Job("pod-failed", steered, file=COUNT, namespace=STEERED)
    assert job.submit("trainer.duration=20ep", "trainer.checkpoint.every=10000step").returncode == 0
    until("it trains", lambda: job.rank0().get("step", 0) > 0)
    signal_launcher(job, 1, 9)
    until("counted", lambda: len(state(job).incidents) == 1)
    assert reasons(job) == ["PodFailed"]
    assert "exit 137" in events(job)["PodFailed"]
    assert attempt(job) == 1
    before = uids(job)
    until(
        "it trains again",
        lambda: len(uids(job)) == 2 and job.told().get("epoch", 0) > 1 and job.told()["state"] == "running",
    )
    signal_launcher(job, 1, 9)
    until("another attempt", lambda: attempt(job) == 2)
    until("other pods", lambda: len(uids(job)) == 2 and not uids(job) & before and bool(job.rank0()))
    assert job.told()["attempt"] == 2
    assert len(state(job).incidents) == 2
    job.end()


def test_a_pod_that_fails_again_and_again_is_given_up(steered: str) -> None:
    job = Job("hopeless", steered, file=CRASH, namespace=STEERED)
    told = job.submit("restart={max: 3, window: 1h, backoff: {base: 1s, cap: 2s}, inPlace: 0}")
    assert told.returncode == 0, told.stderr
    assert job.wait("Failed") == "Failed"
    condition = document(job)["status"]["conditions"][-1]
    assert "gave up after" in condition["message"]
    assert "completionTime" in document(job)["status"]
    until("its pods are gone", lambda: not [it for it in job.pods().values() if it["status"]["phase"] == "Running"])


def test_user_errors_are_the_operators_affair(steered: str) -> None:
    job = Job("user-error", steered, file=CRASH, namespace=STEERED)
    assert job.submit("script.args=[raise]").returncode == 0
    assert job.wait("Failed") == "Failed"
    assert state(job).incidents == ()
    assert attempt(job) == 1


def long(name: str, image: str, *sets: str) -> Job:
    """A counting job that trains for as long as a test needs it."""
    return started(name, image, "trainer.duration=200ep", *sets, namespace=STEERED)


def test_a_launcher_that_is_wedged_costs_one_restart(steered: str) -> None:
    job = long("wedged", steered, "preemption.grace=2s")
    before = uids(job)
    signal_launcher(job, 0, 19)
    until("stacks were asked for", lambda: "Stalled" in reasons(job))
    until("another attempt", lambda: attempt(job) == 2)
    until("it trains again", lambda: not uids(job) & before and job.told().get("state") == "running")
    assert "has not answered for" in events(job)["Hang"]
    assert deletions(job) == Counter(dict.fromkeys(before, 1))
    job.end()


def test_a_frozen_rank_is_named_and_its_peers_show_where_they_wait(steered: str) -> None:
    """Its launcher deals with it, on time; the controller has nothing to do."""
    job = long("frozen", steered, "hang={timeout: 4s}")
    before = uids(job)
    job.kill_ranks(1, signal.SIGSTOP)
    until("it trains again", lambda: job.told().get("epoch") == 2 and job.rank0().get("step", 0) > 0)
    first = json.loads(job.storage().get("state/epochs/a0001-e0001.json")[0])
    assert (first["cause"], first["first_failure"]["rank"]) == ("hang", 1)
    assert "phase train, stopped by a signal" in first["first_failure"]["message"]
    assert "in all_reduce" in job.logs(0) or "in wait" in job.logs(0)
    assert (reasons(job), uids(job), attempt(job)) == ([], before, 1)
    job.end()


def test_a_gang_that_does_not_get_whole_is_released_and_tries_again(steered: str) -> None:
    job = Job("too-big", steered, file=COUNT, nodes=3, namespace=STEERED)
    assert job.submit("resources={cpu: 1200m}", "trainer.batch={global: 48, micro: 16}").returncode == 0
    until("released", lambda: bool(document(job)["spec"]["runPolicy"].get("suspend")))
    until("no pods", lambda: not job.pods())
    assert "does not run after" in events(job)["StartTimeout"]
    assert "Insufficient cpu" in events(job)["StartTimeout"]
    assert attempt(job) == 2
    job.end()


def test_garbled_annotations_are_told_and_harm_nobody(steered: str) -> None:
    job = long("garbled", steered)
    annotate(job, **{ANNOTATION_STATE: "{garbled", ANNOTATION_POLICY: '{"nodes": "many"}'})
    until("told", lambda: "PolicyUnreadable" in events(job))
    annotate(job, **{ANNOTATION_POLICY: '{"nodes": 2}'})
    until("told", lambda: "StateUnreadable" in events(job))
    annotate(job, **{ANNOTATION_STATE: '{"format": 99}'})
    until("told", lambda: "StateOfLaterVersion" in events(job))
    assert attempt(job) == 1
    assert len(uids(job)) == 2
    job.end()


def annotate(job: Job, **annotations: str) -> None:
    admin().patch(JOB, STEERED, job.name, {"metadata": {"annotations": annotations}})


def test_a_job_that_is_not_ours_is_never_touched(steered: str) -> None:
    template = {
        "spec": {"containers": [{"name": "pytorch", "image": steered, "command": ["python", "-c", "exit(139)"]}]}
    }
    foreign = {
        "apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob",
        "metadata": {"name": "foreign", "namespace": FOREIGN, "annotations": {ANNOTATION_STATE: "x", ANNOTATION_POLICY: "x"}},
        "spec": {"pytorchReplicaSpecs": {"Worker": {"replicas": 1, "restartPolicy": "ExitCode", "template": template}}},
    }  # fmt: skip
    apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": FOREIGN}})
    kubectl("create", "-f", "-", stdin=json.dumps(foreign))
    witness = started("witness", steered, namespace=STEERED)
    witness.delete_pod(0)
    assert witness.wait("Succeeded", "Failed") == "Succeeded"
    touched = [it for it in controller.audited() if it.get("objectRef", {}).get("name", "").startswith("foreign")]
    assert touched == []
    kubectl("-n", FOREIGN, "delete", "pytorchjob", "foreign", "--wait=false")
