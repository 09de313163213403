"""The controller on a real cluster, under its own ServiceAccount: what it decides, and what it leaves alone."""

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from hack.cluster import controller, daemons, s3
from hack.cluster.kubectl import apply, get, kubectl
from hack.cluster.layout import LOGS
from ktrain.cluster import JOB
from ktrain.names import ANNOTATION_ATTEMPT, ANNOTATION_STATE
from ktrain_controller.state import State, read_state
from tests.cluster.jobs import CRASH, Job, admin, started, until, visits

pytestmark = pytest.mark.slow
STEERED = "steered"
FLAGS = (
    f"--namespace={STEERED}", "--nodes", "--node-seconds=8", "--silent-seconds=12", "--hang-margin-seconds=5",
    "--start-seconds=20", "--sample-seconds=1",
)  # fmt: skip


@pytest.fixture(scope="module")
def steered(cluster: str) -> Iterator[str]:
    """A controller for one namespace, which also knows nodes; returns the worker image."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": STEERED, "labels": labels}})
    s3.secret(STEERED)
    kubectl("-n", STEERED, "delete", "pytorchjobs", "--all", "--wait")
    controller.install(namespace=STEERED)
    controller.look_at_nodes()
    controller.start("controller-a", *FLAGS, "--port=8081")
    until("it leads", lambda: "event=leads " in log("controller-a"))
    yield cluster
    daemons.stop("controller-a")


def log(name: str) -> str:
    path = LOGS / f"{name}.log"
    return path.read_text() if path.exists() else ""


def document(job: Job) -> dict[str, Any]:
    return admin().get(JOB, STEERED, job.name)


def state(job: Job) -> State:
    return read_state(document(job)["metadata"]["annotations"].get(ANNOTATION_STATE, ""))


def attempt(job: Job) -> int:
    return int(document(job)["metadata"]["annotations"][ANNOTATION_ATTEMPT])


def reasons(job: Job) -> list[str]:
    return [it.reason for it in state(job).decisions]


def events(job: Job) -> Mapping[str, str]:
    """Its reasons, and what they say."""
    found = get("-n", STEERED, "events")["items"]
    return {
        it["reason"]: it["message"]
        for it in found
        if it["involvedObject"]["name"] == job.name and it["source"].get("component") == "ktrain-controller"
    }


def uids(job: Job) -> set[str]:
    return {pod["metadata"]["uid"] for pod in job.pods().values()}


def deletions(job: Job) -> Counter[str]:
    """Of its pods, by uid, as the API server's audit log has them."""
    found: Counter[str] = Counter()
    for line in controller.audited():
        target = line.get("objectRef", {})
        is_pod = line["verb"] == "delete" and target.get("resource") == "pods" and target.get("namespace") == STEERED
        if is_pod and target["name"].startswith(f"{job.name}-worker-") and line["responseStatus"]["code"] < 300:
            found[line["requestObject"]["preconditions"]["uid"]] += 1
    return found


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


def kill_launcher(job: Job, index: int) -> None:
    """As the kernel does when a container has no memory left: nobody can say anything."""
    code = (
        "import glob, os\n"
        "for path in glob.glob('/proc/[0-9]*/cmdline'):\n"
        "    words = open(path, 'rb').read()\n"
        "    if b'ktrain_' + b'launcher' in words and b'tini' not in words and b'warm' not in words:\n"
        "        os.kill(int(path.split('/')[2]), 9)"
    )
    kubectl("-n", STEERED, "exec", f"{job.name}-worker-{index}", "--", "python", "-c", code)


def test_a_pod_that_fails_is_counted_and_the_second_time_all_are_replaced(steered: str) -> None:
    job = started(
        "pod-failed", steered, "trainer.duration=20ep", "trainer.checkpoint.every=10000step", namespace=STEERED
    )
    kill_launcher(job, 1)
    until("counted", lambda: len(state(job).incidents) == 1)
    assert reasons(job) == ["PodFailed"]
    assert "exit 137" in events(job)["PodFailed"]
    assert attempt(job) == 1
    before = uids(job)
    until("it trains again", lambda: len(uids(job)) == 2 and job.told().get("state") == "running")
    kill_launcher(job, 1)
    until("another attempt", lambda: attempt(job) == 2)
    until("other pods", lambda: len(uids(job)) == 2 and not uids(job) & before and bool(job.rank0()))
    assert job.told()["attempt"] == 2
    assert len(state(job).incidents) == 2
    kubectl("-n", STEERED, "delete", "pytorchjob", job.name, "--wait=false")


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
