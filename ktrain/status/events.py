"""What the cluster noted about a job and its pods."""

from typing import Any

from ktrain.cluster import EVENT, JOB, Cluster

Object = dict[str, Any]


def events(cluster: Cluster, namespace: str, name: str) -> tuple[Object, ...]:
    """Of the job and its pods, the oldest first."""
    found = [it for it in cluster.list(EVENT, namespace) if _is_about(it["involvedObject"], name)]
    return tuple(sorted(found, key=time_of))


def time_of(event: Object) -> str:
    """When it was noted last, RFC 3339."""
    return str(event.get("lastTimestamp") or event.get("eventTime") or event["metadata"]["creationTimestamp"])


def _is_about(what: Object, name: str) -> bool:
    is_pod: bool = what["kind"] == "Pod" and what["name"].rpartition("-worker-")[0] == name
    return is_pod or bool(what["kind"] == JOB.name and what["name"] == name)
