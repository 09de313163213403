"""How all jobs of a namespace train: a row for each."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

from ktrain.cluster import JOB, POD, Cluster
from ktrain.errors import ClusterError
from ktrain.jobs.find import JOB_NAME, index, is_running
from ktrain.jobs.page import page
from ktrain.jobs.workload import Workload, held_by
from ktrain.names import LABEL_JOB, MANAGED_BY
from ktrain.picture import Picture, merge
from ktrain.status.word import word

Object = dict[str, Any]
AT_ONCE: Final = 16  # pods asked at a time


@dataclass(frozen=True, slots=True)
class Row:
    """One job: its state, and what its node 0 says."""

    namespace: str
    name: str
    state: str
    nodes: int
    running: int  # pods
    picture: Picture


def rows(cluster: Cluster, namespace: str) -> list[Row]:
    """By namespace and name; an empty namespace means all."""
    jobs = list(cluster.list(JOB, namespace, labels=f"{MANAGED_BY}=ktrain"))
    pods: dict[tuple[str, str], list[Object]] = {}
    for pod in cluster.list(POD, namespace, labels=LABEL_JOB):
        me = pod["metadata"]
        pods.setdefault((me["namespace"], me["labels"].get(JOB_NAME, "")), []).append(pod)
    workloads = _workloads(cluster, jobs)
    with ThreadPoolExecutor(AT_ONCE) as pool:
        made = pool.map(lambda job: _row(cluster, job, pods.get(_key(job), []), workloads), jobs)
    return sorted(made, key=lambda row: (row.namespace, row.name))


def _workloads(cluster: Cluster, jobs: Sequence[Object]) -> Mapping[str, Workload]:
    try:
        return held_by(cluster, jobs)
    except ClusterError:  # their rows say `suspended`, which is so
        return {}


def _row(cluster: Cluster, job: Object, pods: Sequence[Object], workloads: Mapping[str, Workload]) -> Row:
    me, running = job["metadata"], [pod for pod in pods if is_running(pod)]
    first = next((pod for pod in running if index(pod) == 0), None)
    picture = _ask(cluster, first) if first else Picture()
    state = word(job, workloads.get(me["uid"]))
    if state == "running":
        state = "training" if picture.first.get("step") else picture.state
    wanted = int(job["spec"]["pytorchReplicaSpecs"]["Worker"].get("replicas", 1))
    return Row(me["namespace"], me["name"], state, wanted, len(running), picture)


def _ask(cluster: Cluster, pod: Object) -> Picture:
    try:
        return merge([page(cluster, pod)])
    except ClusterError:  # the row says what is known without it
        return Picture()


def _key(job: Object) -> tuple[str, str]:
    return job["metadata"]["namespace"], job["metadata"]["name"]
