"""A job's account as the API's own times bound it: from the object's creation to its end, or to now."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from ktrain.goodput import Account, total
from ktrain.goodput.tell import Spent
from ktrain.jobs.find import ended, index
from ktrain.status.observe import Facts
from ktrain.units import count_gpus

Object = dict[str, Any]


def spent_by(facts: Facts, now: float) -> Spent:
    """By the launcher that runs, else by what it left in storage. now: Unix seconds, of the API server's clock."""
    told = facts.picture.account
    account = Account.decode(told) if told else facts.kept.account
    return Spent(total([bounded(account, facts.job, facts.pods, now)]), _gpus(facts.job))


def bounded(account: Account | None, job: Object, pods: tuple[Object, ...], now: float) -> Account:
    """With the wait before its first launcher began and since its last one left; now: Unix seconds."""
    created = _seconds(job["metadata"]["creationTimestamp"])
    end = _seconds(job["status"]["completionTime"]) if job.get("status", {}).get("completionTime") else now
    found = _begun(account, created) if account else Account(created, created, is_closed=True)
    bound = max((at for pod in pods if (at := _scheduled(pod)) is not None), default=None)
    if bound is not None and found.until < bound < end:
        found = found.spend("queue", bound).spend("pull", end)
    found = found.spend("queue" if found.is_closed else "lost_work", end)
    return found.settle(is_done=_has_succeeded(job)) if ended(job) else found


def _begun(account: Account, created: float) -> Account:
    """Its submission was told by another clock, and a moment before the API server made the object."""
    early = account.begin - created
    queue = max(0.0, account.seconds.get("queue", 0.0) + early)
    return replace(account, begin=created, seconds={**account.seconds, "queue": queue})


def _scheduled(pod: Object) -> float | None:
    """Of node 0's pod while its container has not begun."""
    status = pod.get("status", {})
    if index(pod) != 0 or status.get("phase") != "Pending":
        return None
    times = [
        it["lastTransitionTime"]
        for it in status.get("conditions", ())
        if it["type"] == "PodScheduled" and it["status"] == "True"
    ]
    return _seconds(times[0]) if times else None


def _has_succeeded(job: Object) -> bool:
    return any(it["type"] == "Succeeded" and it["status"] == "True" for it in job["status"].get("conditions", ()))


def _gpus(job: Object) -> int:
    worker = job["spec"]["pytorchReplicaSpecs"]["Worker"]
    limits = [it.get("resources", {}).get("limits") or {} for it in worker["template"]["spec"]["containers"]]
    return int(worker.get("replicas", 1)) * sum(map(count_gpus, limits))


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
