"""Which ends of pods are breakdowns of the gang, and which of them the job has to answer for. Pure."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from ktrain.names import Exit
from ktrain_controller.model import Pod
from ktrain_controller.state import Incident

SAME_SECONDS: Final = 60.0
"""One incident bounces many ranks: a pod that lived when it happened and ended within this time ended by it."""

SETTLE_SECONDS: Final = 120.0
"""A launcher that only lost its peers speaks sooner than who knows why: of a dead node it is known after 40 s that it is
not ready, and after 40 more its pods are given up; a half-open watch is noticed after 70. The operator replaces the pod
meanwhile, so nothing waits for this verdict."""

ROUNDED_SECONDS: Final = 1.0
"""The API's times are whole seconds, and so is the server's clock as we know it, which is behind by up to one."""

_ECHOES: Final = frozenset({Exit.PEER, Exit.MEMBERSHIP})
_NOT_STARTED: Final = frozenset({"StartError", "ContainerCannotRun", "ContainerStatusUnknown"})
_TAKEN: Final = frozenset({"Evicted", "Preempting", "NodeLost", "NodeShutdown", "Terminated", "Shutdown"})


class Kind(StrEnum):
    """Who has to answer for the end of a pod."""

    NONE = "none"  # it is done, or never began: no incident of the job
    FREE = "free"  # it was taken away: preempted, drained, evicted, deleted, its node lost
    ECHO = "echo"  # it lost its peers; somebody else's end says why
    CHARGED = "charged"  # the job's own failure


def kind(pod: Pod) -> Kind:
    """Of an ended, or ending, pod."""
    if pod.phase == "Succeeded" or (pod.exit and pod.exit.code == Exit.DONE):
        return Kind.NONE
    if pod.is_disrupted or pod.reason in _TAKEN or _was_deleted(pod):
        return Kind.FREE
    if pod.exit is None:
        return Kind.NONE if pod.phase != "Failed" else Kind.FREE  # no container ever said anything: the node's doing
    if pod.exit.reason in _NOT_STARTED or 0 < pod.exit.code < 128:
        return Kind.NONE  # never started; or permanent, which the operator sees to
    if pod.exit.code == Exit.PREEMPTED:
        return Kind.FREE
    return Kind.ECHO if pod.exit.code in _ECHOES else Kind.CHARGED


def _was_deleted(pod: Pod) -> bool:
    """Whether somebody wanted it gone before it ended; the operator deletes the ones that failed, too."""
    if pod.deleted is None:
        return False
    return pod.exit is None or pod.exit.at is None or pod.exit.at > pod.deleted


def ended_at(pod: Pod, now: float) -> float:
    """When it ended, as far as anybody says."""
    if pod.exit and pod.exit.at:
        return pod.exit.at
    return min(now, pod.deleted) if pod.deleted is not None else now


def new_incidents(ends: Iterable[Pod], known: tuple[Incident, ...], now: float) -> tuple[Incident, ...]:
    """Those that `known` does not hold. Seen twice, by one controller or two, an end makes one incident."""
    found: list[Incident] = []
    order = {Kind.FREE: 0, Kind.CHARGED: 1, Kind.ECHO: 2}
    sorted_ends = sorted(
        ((kind(pod), ended_at(pod, now), pod) for pod in ends if kind(pod) is not Kind.NONE),
        key=lambda it: (order[it[0]], it[1], it[2].index, it[2].uid),
    )
    taken = [pod for what, _, pod in sorted_ends if what is Kind.FREE]
    for what, at, pod in sorted_ends:
        if what is Kind.ECHO and (now - at < SETTLE_SECONDS or any(_explains(it, pod, at, now) for it in taken)):
            continue
        if not any(covers(incident, pod, at) for incident in (*known, *found)):
            found.append(Incident(at, what is not Kind.FREE, _describe(pod)))
    return tuple(sorted(found, key=lambda it: it.at))


def settles_in(ends: Iterable[Pod], now: float) -> float | None:
    """Seconds until the next echo has waited for long enough for the end that explains it; None when none waits."""
    left = [ended_at(pod, now) + SETTLE_SECONDS - now for pod in ends if kind(pod) is Kind.ECHO]
    return min((seconds for seconds in left if seconds > 0), default=None)


def covers(incident: Incident, pod: Pod, at: float) -> bool:
    """Whether the pod, which ended then, ended by it."""
    # A pod that ended before it was made: the clock was set back meanwhile, and only the ends can be compared.
    # One that was made in the very second, and lived on, was made in place of the one that ended then.
    was_there = pod.created < incident.at or pod.created > at or at == incident.at
    return was_there and abs(at - incident.at) <= SAME_SECONDS


def _explains(taken: Pod, echo: Pod, at: float, now: float) -> bool:
    """Peers lose a pod that is taken away at any time of its grace period, and its end may be heard of after theirs."""
    gone = max(ended_at(taken, now), taken.deleting or 0)
    was_there = echo.created <= gone + ROUNDED_SECONDS or echo.created > at
    return was_there and at <= gone + SAME_SECONDS


def _describe(pod: Pod) -> str:
    if pod.exit is None:
        return f"{pod.name}: {pod.reason or 'deleted'}"
    rank = f" on rank {pod.exit.rank}" if pod.exit.rank is not None else ""
    said = f": {pod.exit.message}" if pod.exit.message else ""
    return f"{pod.name}: {pod.exit.cause or pod.exit.reason} (exit {pod.exit.code}){rank}{said}"[:300]
