"""How often a job may break down before it is given up. Pure."""

from collections.abc import Iterable

from ktrain.spec.platform import Restart
from ktrain_controller.state import MAX_INCIDENTS, Incident


def charged(incidents: Iterable[Incident], restart: Restart, now: float) -> list[Incident]:
    """Those that count: the job's own, within the window."""
    since = now - restart.window.total_seconds()
    return [it for it in incidents if it.is_charged and it.at > since]


def is_spent(incidents: Iterable[Incident], restart: Restart, now: float) -> bool:
    """Whether there has been one more than the budget allows; a larger one than can be remembered would have no end."""
    return len(charged(incidents, restart, now)) > min(restart.max, MAX_INCIDENTS - 1)
