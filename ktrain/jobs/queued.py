"""Pauses and resumes a job that Kueue owns: through its Workload, because Kueue starts again what is suspended without it."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ktrain.cluster import Cluster
from ktrain.errors import ForbiddenError, MissingError, NoKindError, SpecError, TakenError
from ktrain.jobs.find import is_suspended, queue_of, worker
from ktrain.jobs.workload import Workload, find_workload
from ktrain.names import ANNOTATION_PAUSE
from ktrain.units import counted

Object = dict[str, Any]


def check_pause(cluster: Cluster, job: Object) -> None:
    """Whether `pause` would work: nobody's ranks are stopped for one that is refused. MissingError, NoKindError, ForbiddenError."""
    found = workload_of(cluster, job)
    _patch(cluster, found, {"metadata": {"uid": found.uid}})  # changes nothing, and takes the same right


def pause(cluster: Cluster, job: Object) -> bool:
    """Has Kueue suspend the job, and keep it so; whether that was news. The same errors."""
    found = workload_of(cluster, job)
    # Without the mark it is no controller's any more, even of one that was about to end its pause.
    unmarked = {"uid": found.uid, "annotations": {ANNOTATION_PAUSE: None}}
    _patch(cluster, found, {"metadata": unmarked, "spec": {"active": False}})
    return found.is_active


def resume(cluster: Cluster, job: Object, *, nodes: int | None) -> int:
    """Lets Kueue admit the job again; returns the number of its nodes. SpecError, TakenError, and the same errors."""
    name, count = job["metadata"]["name"], int(worker(job).get("replicas", 1))
    if nodes not in {None, count}:
        raise SpecError(
            f"--nodes {nodes}: job {name} is in Kueue's queue {queue_of(job)} with {counted(count, 'node')}, and Kueue stops a job that "
            "changes them; `ktrain submit --replace` queues it anew, and goes on with its run"
        )
    found = workload_of(cluster, job)
    if found.is_active:
        how = f"it waits for admission: {found.why}" if is_suspended(job) else "it may run"
        raise TakenError(f"job {name} is not paused: {how}")
    _patch(cluster, found, {"metadata": {"uid": found.uid}, "spec": {"active": True}})
    return count


def workload_of(cluster: Cluster, job: Object) -> Workload:
    """Its Workload; MissingError, NoKindError or ForbiddenError when there is none, or none for you."""
    me = job["metadata"]
    told = f"job {me['name']} is to run through Kueue's queue {queue_of(job)}, but"
    try:
        with _may():
            found = find_workload(cluster, me["namespace"], me["uid"])
    except NoKindError as error:
        raise NoKindError(f"{told} {error}, or `ktrain submit --replace` it without spec.scheduling.queue") from None
    if found is None:
        raise MissingError(
            f"{told} Kueue has made no Workload for it; see to it that Kueue manages PyTorchJobs (its integration "
            "kubeflow.org/pytorchjob, off by default since 0.19), or `ktrain submit --replace` it without "
            "spec.scheduling.queue"
        )
    return found


def _patch(cluster: Cluster, workload: Workload, change: Object) -> None:
    with _may():
        cluster.patch(workload.kind, workload.namespace, workload.name, change)


@contextmanager
def _may() -> Iterator[None]:
    try:
        yield
    except ForbiddenError as error:
        raise ForbiddenError(
            f"{error}; a job of Kueue is paused through its Workload: ask for list and patch on workloads.kueue.x-k8s.io, "
            "which Kueue's batch-admin-role has"
        ) from None
