"""What can be changed of a job while it trains: the controller reads it from an annotation, and no pod needs to know."""

from typing import Any

from ktrain.cluster import JOB, Cluster
from ktrain.diff import Difference, Effect
from ktrain.errors import MissingError
from ktrain.jobs.find import ended
from ktrain.load import Loaded
from ktrain.names import ANNOTATION_POLICY
from ktrain.spec.policy import Policy
from ktrain.submit.compare import compare

Object = dict[str, Any]


def amendable(cluster: Cluster, loaded: Loaded) -> tuple[Object, list[Difference]] | None:
    """The running job of this name and what the file changes in it; None when there is none, or not all is in place."""
    me = loaded.job.metadata
    there = cluster.find(JOB, me.namespace, me.name)
    if there is None or ended(there):
        return None
    try:
        found = compare(cluster, there, loaded)
    except MissingError:  # not ours, or of another version: whoever creates it says what is in the way
        return None
    return (there, found) if found and all(it.effect is Effect.IN_PLACE for it in found) else None


def amend(cluster: Cluster, there: Object, loaded: Loaded) -> None:
    """TakenError when the job has changed since."""
    me = there["metadata"]
    policy = Policy.of(loaded.job.spec).encode()
    change = {"uid": me["uid"], "resourceVersion": me["resourceVersion"], "annotations": {ANNOTATION_POLICY: policy}}
    cluster.patch(JOB, me["namespace"], me["name"], {"metadata": change})
