"""The time that a job's launchers account for, against the API server's own times of its beginning and end."""

import json
from datetime import datetime

import pytest

from hack.cluster import prometheus
from hack.cluster.kubectl import get
from ktrain.goodput import PRODUCTIVE, accounts, total
from tests.cluster.jobs import COUNT, NAMESPACE, Job, ktrain, until

pytestmark = pytest.mark.slow

STEPS = 14 * 128
STEP_SECONDS = 0.1  # at least: the job sleeps for so long in each


def wall(job: Job) -> float:
    """Seconds from the job's creation to its end, by the API server."""
    return seconds(get("-n", NAMESPACE, "pytorchjob", job.name)["status"]["completionTime"]) - created(job)


def worked(job: Job) -> float:
    """The same to the end of node 0's launcher, by its kubelet: the operator takes a second or two more to notice."""
    (status,) = get("-n", NAMESPACE, "pod", f"{job.name}-worker-0")["status"]["containerStatuses"]
    return seconds(status["state"]["terminated"]["finishedAt"]) - created(job)


def created(job: Job) -> float:
    return seconds(get("-n", NAMESPACE, "pytorchjob", job.name)["metadata"]["creationTimestamp"])


def seconds(time: str) -> float:
    return datetime.fromisoformat(time).timestamp()


def test_all_of_the_time_is_told_within_a_hundredth(cluster: str) -> None:
    """A rank is killed, then the pod that keeps the account; what is told without the API is told by it as well."""
    job = Job("goodput", cluster, file=COUNT)
    assert job.submit("trainer.eval.every=300step", "trainer.duration=14ep").returncode == 0
    until("a commit", lambda: bool(job.rank0()) and job.step() > 0)
    job.kill_ranks(1)
    until("it goes on", lambda: job.told().get("epoch") == 2 and job.rank0().get("phase") == "train")
    step = job.step()
    until("another commit", lambda: job.step() > step)
    labels = f'namespace="{NAMESPACE}",ktrain_job="{job.name}",reason="start"'
    assert prometheus.ask(f"ktrain_badput_seconds_total{{{labels}}}") > 0
    job.delete_pod(0, at_once=True)
    until("it has ended", lambda: job.state() in {"Succeeded", "Failed"}, seconds=400)
    assert job.state() == "Succeeded"
    found = total(accounts(job.storage()))
    assert found.wall == pytest.approx(worked(job), rel=0.01)
    assert found.pending == 0
    assert STEPS * STEP_SECONDS < found.productive < wall(job)
    assert {"queue", "pull", "start", "rendezvous", "restore", "eval", "lost_work"} <= found.badput.keys()
    told = json.loads(ktrain("status", job.name, "-n", NAMESPACE, "-o", "json").stdout)["goodput"]
    parts = told["productive_seconds"] + sum(told["badput_seconds"].values())
    assert parts == pytest.approx(wall(job), rel=0.01)
    assert told["productive_seconds"] == pytest.approx(found.seconds[PRODUCTIVE])
