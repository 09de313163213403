"""Ends a job for good and keeps its object: Failed, with the reason that it was cancelled."""

from datetime import UTC, datetime
from typing import Any, Final

from ktrain.cluster import JOB, Cluster
from ktrain.errors import TakenError
from ktrain.jobs.find import conditions, find_job
from ktrain.jobs.pause import Waiting, refuse_ended, stop_ranks

Object = dict[str, Any]
REASON: Final = "KtrainCancelled"
_TRIES: Final = 10


def cancel(cluster: Cluster, job: Object, *, save: bool, waiting: Waiting) -> int | None:
    """Saves, then marks the job as ended; the operator takes its pods away. The step of the commit, None when unknown."""
    refuse_ended(job)
    step = stop_ranks(cluster, job, waiting) if save and not job["spec"].get("runPolicy", {}).get("suspend") else None
    message = f"cancelled by `ktrain cancel`{f' at step {step}' if step is not None else ''}; its run is kept"
    mark_failed(cluster, job, reason=REASON, message=message)
    return step


def mark_failed(cluster: Cluster, job: Object, *, reason: str, message: str) -> None:
    """The Failed condition, as the operator itself would set it; nothing else of the status changes."""
    me = job["metadata"]
    for _ in range(_TRIES):
        now = find_job(cluster, me["namespace"], me["name"])
        refuse_ended(now)
        try:
            cluster.patch(JOB, me["namespace"], me["name"], failed(now, reason=reason, message=message), sub="status")
        except TakenError:  # the operator wrote meanwhile
            continue
        return
    raise TakenError(f"job {me['name']} changes all the time; try again")


def failed(job: Object, *, reason: str, message: str, at: datetime | None = None) -> Object:
    """The patch of its status that ends the job, now or `at`: the operator keeps it, and takes the pods away."""
    now = (at or datetime.now(UTC)).strftime("%Y-%m-%dT%H:%M:%SZ")
    others = [it | ({"status": "False"} if it["type"] == "Running" else {}) for it in conditions(job)]
    ending = {
        "type": "Failed", "status": "True", "reason": reason, "message": message,
        "lastTransitionTime": now, "lastUpdateTime": now,
    }  # fmt: skip
    me = job["metadata"]
    return {
        "metadata": {"uid": me["uid"], "resourceVersion": me["resourceVersion"]},
        "status": {"conditions": [*others, ending], "completionTime": now},
    }
