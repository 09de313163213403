"""Everything about one job that the cluster and its launchers tell, asked once."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ktrain.cluster import EVENT, JOB, NODE, POD, Cluster
from ktrain.errors import ClusterError, MissingError
from ktrain.picture import Picture, merge

Object = dict[str, Any]
JOB_NAME = "training.kubeflow.org/job-name"


@dataclass(frozen=True, slots=True)
class Facts:
    """As the API gave them."""

    job: Object
    pods: tuple[Object, ...]
    events: tuple[Object, ...]  # of the job and its pods, the oldest first
    lost_nodes: frozenset[str]  # NotReady
    picture: Picture
    blind: tuple[str, ...] = ()  # what could not be asked, and why


def observe(cluster: Cluster, namespace: str, name: str) -> Facts:
    """Facts of now; MissingError when there is no such job."""
    job = find_job(cluster, namespace, name)
    pods = tuple(sorted(cluster.list(POD, namespace, labels=f"{JOB_NAME}={name}"), key=index))
    blind: list[str] = []
    return Facts(
        job,
        pods,
        _events(cluster, namespace, name, blind),
        _lost_nodes(cluster, blind),
        _ask(cluster, namespace, pods, blind),
        tuple(blind),
    )


def find_job(cluster: Cluster, namespace: str, name: str) -> Object:
    """The job; MissingError says which are there."""
    try:
        return cluster.get(JOB, namespace, name)
    except MissingError:
        names = sorted(it["metadata"]["name"] for it in cluster.list(JOB, namespace))
        there = f"there are {', '.join(names[:10])}" if names else "there is none at all"
        raise MissingError(f"there is no job {name!r} in namespace {namespace}; {there}") from None


def index(pod: Object) -> int:
    """The pod's place in the job."""
    return int(pod["metadata"]["labels"].get("training.kubeflow.org/replica-index", "0"))


def _events(cluster: Cluster, namespace: str, name: str, blind: list[str]) -> tuple[Object, ...]:
    try:
        found = [it for it in cluster.list(EVENT, namespace) if _is_about(it["involvedObject"], name)]
    except ClusterError as error:
        blind.append(f"events: {error}")
        return ()
    return tuple(sorted(found, key=_time))


def _is_about(what: Object, name: str) -> bool:
    is_pod: bool = what["kind"] == "Pod" and what["name"].rpartition("-worker-")[0] == name
    return is_pod or bool(what["kind"] == JOB.name and what["name"] == name)


def _time(event: Object) -> str:
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"])


def _lost_nodes(cluster: Cluster, blind: list[str]) -> frozenset[str]:
    try:
        nodes = list(cluster.list(NODE))
    except ClusterError as error:
        blind.append(f"nodes: {error}")
        return frozenset()
    return frozenset(node["metadata"]["name"] for node in nodes if not _is_ready(node))


def _is_ready(node: Object) -> bool:
    return any(it["type"] == "Ready" and it["status"] == "True" for it in node.get("status", {}).get("conditions", ()))


def _ask(cluster: Cluster, namespace: str, pods: Sequence[Object], blind: list[str]) -> Picture:
    answers = []
    for pod in (it for it in pods if it["status"].get("phase") == "Running"):
        name, port = pod["metadata"]["name"], metrics_port(pod)
        try:
            answers.append(json.loads(cluster.text(POD.path(namespace, f"{name}:{port}", "proxy/status"))))
        except (ClusterError, ValueError) as error:  # its launcher is not serving yet, or we may not ask
            blind.append(f"the launcher of {name}: {error}")
    return merge(answers)


def metrics_port(pod: Object) -> int:
    """Where its launcher serves."""
    ports = [port for container in pod["spec"]["containers"] for port in container.get("ports", ())]
    return next((int(port["containerPort"]) for port in ports if port.get("name") == "metrics"), 9400)
