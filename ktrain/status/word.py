"""A job's state in one word, from its object alone."""

from typing import Any

from ktrain.jobs.cancel import REASON as CANCELLED
from ktrain.jobs.decided import decided
from ktrain.jobs.find import conditions, is_suspended


def word(job: dict[str, Any]) -> str:
    """created, running, restarting, suspended, paused, succeeded, failed or cancelled."""
    now = [it for it in conditions(job) if it["status"] == "True"]
    if any(it["type"] == "Failed" and it.get("reason") == CANCELLED for it in now):
        return "cancelled"
    ended = next((it["type"] for it in now if it["type"] in {"Succeeded", "Failed"}), None)
    if ended:
        return str(ended).lower()
    if is_suspended(job):
        return "suspended" if decided(job).paused_until is None else "paused"
    return str(now[-1]["type"]).lower() if now else "created"


def reason(job: dict[str, Any]) -> str:
    """Why it is failed, cancelled or paused, as far as its object says; empty otherwise."""
    state = word(job)
    if state in {"failed", "cancelled"}:
        return next((str(it.get("message", "")) for it in conditions(job) if it["type"] == "Failed"), "")
    return decided(job).last if state == "paused" else ""
