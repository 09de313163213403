"""Everything about one job that the cluster and its launchers tell, asked once."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ktrain.cluster import NODE, Cluster
from ktrain.errors import ClusterError
from ktrain.jobs.find import find_job, find_pods
from ktrain.jobs.page import page
from ktrain.jobs.workload import Workload, held_by
from ktrain.picture import Picture, merge
from ktrain.status.events import events
from ktrain.status.kept import NOTHING, Kept, read_kept

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Facts:
    """As the API gave them."""

    job: Object
    pods: tuple[Object, ...]
    events: tuple[Object, ...]  # of the job and its pods, the oldest first
    lost_nodes: frozenset[str]  # NotReady
    picture: Picture
    kept: Kept = NOTHING  # only when no launcher can tell
    workload: Workload | None = None  # of a job that Kueue may be holding back
    blind: tuple[str, ...] = ()  # what could not be asked, and why


def observe(cluster: Cluster, namespace: str, name: str) -> Facts:
    """Facts of now; MissingError when there is no such job."""
    job = find_job(cluster, namespace, name)
    pods = find_pods(cluster, namespace, name)
    blind: list[str] = []
    picture = _ask(cluster, pods, blind)
    kept = NOTHING if picture.first else read_kept(cluster, job)
    if kept.blind:
        blind.append(f"storage: {kept.blind}")
    return Facts(
        job,
        pods,
        _events(cluster, namespace, name, blind),
        _lost_nodes(cluster, blind),
        picture,
        kept,
        _workload(cluster, job, blind),
        tuple(blind),
    )


def _workload(cluster: Cluster, job: Object, blind: list[str]) -> Workload | None:
    try:
        return held_by(cluster, [job]).get(job["metadata"]["uid"])
    except ClusterError as error:
        blind.append(f"its Workload: {error}")
        return None


def _events(cluster: Cluster, namespace: str, name: str, blind: list[str]) -> tuple[Object, ...]:
    try:
        return events(cluster, namespace, name)
    except ClusterError as error:
        blind.append(f"events: {error}")
        return ()


def _lost_nodes(cluster: Cluster, blind: list[str]) -> frozenset[str]:
    try:
        nodes = list(cluster.list(NODE))
    except ClusterError as error:
        blind.append(f"nodes: {error}")
        return frozenset()
    return frozenset(node["metadata"]["name"] for node in nodes if not _is_ready(node))


def _is_ready(node: Object) -> bool:
    return any(it["type"] == "Ready" and it["status"] == "True" for it in node.get("status", {}).get("conditions", ()))


def _ask(cluster: Cluster, pods: Sequence[Object], blind: list[str]) -> Picture:
    answers = []
    for pod in (it for it in pods if it["status"].get("phase") == "Running"):
        try:
            answers.append(page(cluster, pod))
        except ClusterError as error:  # its launcher is not serving yet, or we may not ask
            blind.append(f"the launcher of {pod['metadata']['name']}: {error}")
    return merge(answers)
