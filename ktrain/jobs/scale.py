"""Another number of pods for an elastic job while it trains."""

from typing import Any

from ktrain.cluster import JOB, Cluster
from ktrain.errors import SpecError, TakenError
from ktrain.jobs.find import is_suspended, queue_of, worker
from ktrain.jobs.pause import check_nodes, refuse_ended
from ktrain.jobs.resize import resized

Object = dict[str, Any]


def scale(cluster: Cluster, job: Object, nodes: int) -> int:
    """Asks the operator for so many; the number before. Pods that come join, those that go save first.

    SpecError for a number that the spec does not allow, TakenError for a job that has no pods, TakenError when it was
    changed meanwhile.
    """
    me = job["metadata"]
    refuse_ended(job)
    if is_suspended(job):
        raise TakenError(
            f"job {me['name']} has no pods now; `ktrain resume {me['name']} --nodes {nodes}` brings so many"
        )
    if queue_of(job):
        raise SpecError(
            f"job {me['name']} is admitted by Kueue with its number of pods; `ktrain suspend` it, submit it with another one, and resume it"
        )
    check_nodes(cluster, job, nodes)
    before = int(worker(job).get("replicas", 1))
    held = {"uid": me["uid"], "resourceVersion": me["resourceVersion"]}
    cluster.patch(JOB, me["namespace"], me["name"], {"metadata": held, "spec": resized(job, nodes)})
    return before
