"""What the launcher of a pod says of itself: its /status page, through the API server's proxy."""

import json
from typing import Any

from ktrain.cluster import POD, Cluster
from ktrain.errors import ClusterError
from ktrain.jobs.find import metrics_port

Object = dict[str, Any]


def page(cluster: Cluster, pod: Object) -> Object:
    """The page; ClusterError when it is not serving yet, or may not be asked."""
    me = pod["metadata"]
    text = cluster.text(POD.path(me["namespace"], f"{me['name']}:{metrics_port(pod)}", "proxy/status"))
    try:
        found = json.loads(text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise ClusterError(f"port {metrics_port(pod)} of pod {me['name']} is served by something else than a launcher")
    return found


def runs_rank(cluster: Cluster, pod: Object, rank: int) -> bool:
    """Whether it says that this rank is one of its own: in an elastic job they are numbered over the pods that take part."""
    try:
        return any(it.get("rank") == rank for it in page(cluster, pod).get("ranks", ()))
    except ClusterError:
        return False


def state_of(cluster: Cluster, pod: Object) -> str:
    """What it says that it does, in a word; empty when it cannot be asked."""
    try:
        return str(page(cluster, pod).get("state", ""))
    except ClusterError:
        return ""
