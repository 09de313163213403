"""A job's state in one word, from its object alone."""

from typing import Any

from ktrain.jobs.cancel import REASON as CANCELLED
from ktrain.jobs.find import conditions, is_suspended


def word(job: dict[str, Any]) -> str:
    """created, running, restarting, suspended, succeeded, failed or cancelled."""
    now = [it for it in conditions(job) if it["status"] == "True"]
    if any(it["type"] == "Failed" and it.get("reason") == CANCELLED for it in now):
        return "cancelled"
    ended = next((it["type"] for it in now if it["type"] in {"Succeeded", "Failed"}), None)
    if ended:
        return str(ended).lower()
    if is_suspended(job):
        return "suspended"
    return str(now[-1]["type"]).lower() if now else "created"
