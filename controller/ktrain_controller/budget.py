"""How often a job may break down before it is given up, and how long it pauses between. Pure."""

from collections.abc import Iterable
from datetime import timedelta

from ktrain.spec.platform import Restart
from ktrain_controller.state import Incident


def charged(incidents: Iterable[Incident], restart: Restart, now: float) -> list[Incident]:
    """Those that count: the job's own, within the window."""
    since = now - restart.window.total_seconds()
    return [it for it in incidents if it.is_charged and it.at > since]


def is_spent(incidents: Iterable[Incident], restart: Restart, now: float) -> bool:
    """Whether there has been one more than the budget allows."""
    return len(charged(incidents, restart, now)) > restart.max


def pause(count: int, restart: Restart) -> timedelta:
    """Before the next try after so many failures in a row: none after the first, which mostly comes alone."""
    if count < 2:
        return timedelta(0)
    return min(restart.backoff.cap, restart.backoff.base * float(2 ** min(count - 2, 30)))
