"""Pods that go at every moment of a job's life, in every way that a cluster takes them."""

import json
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

from hack.cluster.kubectl import command, get, kubectl
from ktrain.names import CliExit, Exit
from ktrain.records import read_records
from tests.cluster.jobs import COUNT, CRASH, NAMESPACE, Job, ktrain, started, until, visits

pytestmark = pytest.mark.slow


def uid(job: Job, index: int) -> str:
    pod = job.pods().get(index)
    return str(pod["metadata"]["uid"]) if pod else ""


def is_saving(job: Job) -> bool:
    """Whether there are objects of a checkpoint that HEAD does not know yet."""
    head, storage = job.head(), job.storage()
    if head is None or not head.commits:
        return False
    known = {commit.manifest.rpartition("/")[0] for commit in head.commits}
    return any(f"{head.token.prefix}/{folder}" not in known for folder in storage.folders(f"{head.token.prefix}/"))


MOMENTS: Mapping[str, Callable[[Job, int], bool]] = {
    "step": lambda job, _: job.rank0().get("phase") == "train" and int(job.rank0().get("step", 0)) > job.step() + 2,
    "rendezvous": lambda job, index: index_told(job, index) == "rendezvous",
    "save": lambda job, _: is_saving(job),
    "eval": lambda job, _: job.rank0().get("phase") == "eval",
}
# A pod that went in a step leaves the other one in the rendezvous, and the two that are then made again meet there too.
ORDER = (
    ("step", 1),
    ("rendezvous", 0),
    ("rendezvous", 1),
    ("step", 0),
    ("save", 1),
    ("save", 0),
    ("eval", 1),
    ("eval", 0),
)


def index_told(job: Job, index: int) -> str:
    return str(job.told(index).get("state"))


def comes(job: Job, moment: str, index: int) -> bool:
    """Waits for the moment; False for a rendezvous that was over before anybody looked."""
    seen = False

    def is_settled() -> bool:
        nonlocal seen
        seen = MOMENTS[moment](job, index)
        return seen or (moment == "rendezvous" and MOMENTS["step"](job, index))

    until(f"a {moment} for pod {index}", is_settled)
    return seen


def replace(job: Job, index: int, seen: set[str], *, at_once: bool = False) -> None:
    """Deletes a pod, and waits for the one that follows it."""
    until("the pod", lambda: uid(job, index) not in seen | {""})  # the operator may be making it anew at this moment
    seen.add(uid(job, index))
    job.delete_pod(index, at_once=at_once)
    until("another pod", lambda: uid(job, index) not in seen | {""})


def test_pods_deleted_at_every_moment_cost_nothing(cluster: str) -> None:
    """Both pods, in the rendezvous, a step, a save and an evaluation; those in a save by SIGKILL."""
    job = Job("deleted", cluster, file=COUNT)
    assert job.submit("trainer.eval.every=20step").returncode == CliExit.OK
    seen: dict[int, set[str]] = {0: set(), 1: set()}
    for moment, index in ORDER:
        while not comes(job, moment, index):
            replace(job, 1 - index, seen[1 - index])
        replace(job, index, seen[index], at_once=moment == "save")
    assert job.wait("Succeeded", "Failed") == "Succeeded"
    assert min(len(uids | {uid(job, index)}) for index, uids in seen.items()) >= 5
    assert visits(job.storage()) == {2.0}
    records = read_records(job.storage())
    restored = {record["restored_step"] for record in records.of("start")}
    stopped = {record["step"] for record in records.of("stop")}
    assert stopped <= restored  # the first step after an agreed stop is the next one
    assert len(stopped) >= 2


def test_pods_that_die_after_the_end_do_not_hang_the_job(cluster: str) -> None:
    """Both pods are killed as soon as the run is complete; whoever is made again finds that and leaves."""
    job = Job("after-the-end", cluster, file=COUNT)
    assert job.submit("trainer.duration=20step", "trainer.eval.every=1000step").returncode == CliExit.OK
    until("the end", lambda: bool(job.pods()) and job.is_done())
    for index in (0, 1):
        job.delete_pod(index, at_once=True)
    assert job.wait("Succeeded", "Failed") == "Succeeded"
    # And from the very beginning: the same objects once more, for a run that is complete.
    made = get("-n", NAMESPACE, "pytorchjob", job.name)
    config = get("-n", NAMESPACE, "configmap", f"{job.name}-{made['metadata']['annotations']['ktrain.dev/spec-hash']}")
    kubectl("-n", NAMESPACE, "delete", "pytorchjob", job.name, "--wait")
    for each in (config, made):
        kept = {name: each["metadata"][name] for name in ("name", "namespace", "labels")}
        each["metadata"] = kept | {"annotations": each["metadata"].get("annotations", {})}
        each.pop("status", None)
        until("it is gone", lambda each=each: _create(each))  # type: ignore[misc]
    assert job.wait("Succeeded", "Failed") == "Succeeded"
    assert len(read_records(job.storage()).of("start")) == 1


def _create(document: dict[str, Any]) -> bool:
    name, kind = document["metadata"]["name"], document["kind"]
    if name in kubectl("-n", NAMESPACE, "get", kind, "-o", "name"):
        return False
    kubectl("create", "-f", "-", stdin=json.dumps(document))
    return True


def test_a_killed_rank_is_started_again_in_its_pod(cluster: str) -> None:
    job = started("rank-killed", cluster)
    uids = {index: pod["metadata"]["uid"] for index, pod in job.pods().items()}
    job.kill_ranks(1)
    assert job.wait("Succeeded", "Failed") == "Succeeded"
    assert visits(job.storage()) == {1.0}
    assert {index: pod["metadata"]["uid"] for index, pod in job.pods().items()} == uids
    assert len(read_records(job.storage()).of("start")) == 2


GREEDY: Final = """
import time
while open('/proc/1/oom_score_adj').read().strip() != '1000': time.sleep(0.05)
x = bytearray(4 << 30)
for i in range(0, len(x), 4096): x[i] = 1
"""


def test_a_container_killed_for_its_memory_is_made_again(cluster: str) -> None:
    """Of several processes the kernel takes the one with the highest score: here the first one, and with it the container.

    In a pod whose requests are its limits all scores begin at 0, and one that is 1000 higher outweighs any memory.
    """
    patch = "podPatch={spec: {containers: [{name: pytorch, resources: {limits: {cpu: 1}}}]}}"
    job = started("hungry", cluster, "resources={cpu: 1, memory: 1Gi}", patch)
    before = uid(job, 1)
    (status,) = job.pods()[1]["status"]["containerStatuses"]
    exec_in = command("-n", NAMESPACE, "exec", f"{job.name}-worker-1", "--", "python", "-c", GREEDY)
    with subprocess.Popen(exec_in, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as greedy:
        until("the end of the greedy", lambda: _offer(status["containerID"]) and greedy.poll() is not None)
    until("another pod", lambda: uid(job, 1) not in {"", before})
    assert job.wait("Succeeded", "Failed") == "Succeeded"
    assert visits(job.storage()) == {1.0}


def _offer(container: str) -> bool:
    """Makes the container's first process the first that the kernel kills."""
    for cgroup in Path("/proc").glob("[0-9]*/cgroup"):
        try:
            is_of_container = container.rpartition("/")[2] in cgroup.read_text()
            if is_of_container and _is_first(cgroup.with_name("status").read_text()):
                cgroup.with_name("oom_score_adj").write_text("1000")
        except OSError:  # it has just ended
            continue
    return True


def _is_first(status: str) -> bool:
    return next(line for line in status.splitlines() if line.startswith("NSpid:")).split()[-1] == "1"


def test_an_eviction_by_the_api_is_a_stop_with_a_checkpoint(cluster: str) -> None:
    job = started("evicted", cluster)
    before = uid(job, 0)
    eviction = {
        "apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": f"{job.name}-worker-0", "namespace": NAMESPACE},
    }  # fmt: skip
    path = f"/api/v1/namespaces/{NAMESPACE}/pods/{job.name}-worker-0/eviction"
    kubectl("create", "--raw", path, "-f", "-", stdin=json.dumps(eviction))
    until("another pod", lambda: uid(job, 0) not in {"", before})
    assert job.wait("Succeeded", "Failed") == "Succeeded"
    assert visits(job.storage()) == {1.0}
    records = read_records(job.storage())
    assert {it["step"] for it in records.of("stop")} <= {it["restored_step"] for it in records.of("start")}


def test_what_failed_is_told_when_its_pods_are_gone(cluster: str) -> None:
    job = Job("gone", cluster, file=COUNT)
    assert job.submit("trainer.data.val.args.size=5000").returncode == CliExit.OK  # beyond the table
    assert job.wait("Succeeded", "Failed") == "Failed"
    kubectl("-n", NAMESPACE, "delete", "pods", "-l", f"training.kubeflow.org/job-name={job.name}", "--wait")
    status = ktrain("status", job.name, "-n", NAMESPACE)
    assert status.returncode == CliExit.JOB_FAILED
    assert "user (exit 70)" in status.stdout
    assert "index out of range" in status.stdout
    logs = ktrain("logs", job.name, "-n", NAMESPACE)
    assert "count.py" in logs.stdout  # the user's own last lines
    assert "IndexError: index out of range in self" in logs.stdout
    assert "first failure: user (exit 70)" in logs.stderr


def test_without_any_controller_a_job_keeps_its_budget(cluster: str) -> None:
    job = Job("alone", cluster, file=CRASH)
    assert job.submit("restart={max: 2, window: 1h, backoff: {base: 1s, cap: 2s}, inPlace: 0}").returncode == 0
    assert job.wait("Failed") == "Failed"
    verdicts = [json.loads(job.storage().get(it.key)[0]) for it in job.storage().list("state/verdict-")]
    (last,) = {it["message"] for it in verdicts if it["code"] == Exit.EXHAUSTED}
    assert last.startswith("gave up after 3 failures in 1h without a newer checkpoint")
