"""A job's state in one word, from its object and, where Kueue owns it, from its Workload."""

from typing import Any

from ktrain.jobs.cancel import REASON as CANCELLED
from ktrain.jobs.decided import decided
from ktrain.jobs.find import conditions, is_suspended, queue_of
from ktrain.jobs.workload import Workload


def word(job: dict[str, Any], workload: Workload | None = None) -> str:
    """created, running, restarting, suspended, queued, paused, succeeded, failed or cancelled."""
    now = [it for it in conditions(job) if it["status"] == "True"]
    if any(it["type"] == "Failed" and it.get("reason") == CANCELLED for it in now):
        return "cancelled"
    ended = next((it["type"] for it in now if it["type"] in {"Succeeded", "Failed"}), None)
    if ended:
        return str(ended).lower()
    if is_suspended(job):
        return _held(job, workload)
    return str(now[-1]["type"]).lower() if now else "created"


def reason(job: dict[str, Any], workload: Workload | None = None) -> str:
    """Why it is failed, cancelled or held back, as far as its objects say; empty otherwise."""
    match word(job, workload):
        case "failed" | "cancelled":
            return next((str(it.get("message", "")) for it in conditions(job) if it["type"] == "Failed"), "")
        case "paused":
            return decided(job).last
        case "queued" if workload:
            return f"waits for admission to queue {queue_of(job)}: {workload.why or 'Kueue has admitted it just now'}"
        case "suspended" if workload:
            return f"paused by its Workload {workload.name}{f': {workload.why}' if workload.why else ''}"
    return ""


def _held(job: dict[str, Any], workload: Workload | None) -> str:
    if workload and workload.is_active:
        return "queued"  # whatever a controller's pause says: it has been ended
    return "suspended" if decided(job).paused_until is None else "paused"
