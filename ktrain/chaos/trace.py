"""Which faults come when: the same for the same seed. Pure."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final


class Kind(StrEnum):
    """What can go wrong."""

    RANK_KILL = "rank-kill"
    POD_KILL = "pod-kill"
    POD_LOSS = "pod-loss"
    PREEMPT = "preempt"
    FREEZE = "freeze"
    OUTAGE = "storage-outage"
    SLOW = "storage-slow"


ABOUT: Final[dict[Kind, str]] = {
    Kind.RANK_KILL: "SIGKILL to a rank, as the kernel does that runs out of memory",
    Kind.POD_KILL: "SIGKILL to a launcher, which takes its ranks along; it is started again at once",
    Kind.POD_LOSS: "the same, and nothing comes in its place for some seconds: a lost node",
    Kind.PREEMPT: "SIGTERM to a launcher: a node that is drained, a spot machine that is taken back",
    Kind.FREEZE: "SIGSTOP to a rank for some seconds: a stalled volume, a paused machine",
    Kind.OUTAGE: "storage does not answer for some seconds",
    Kind.SLOW: "each request to storage takes a second more, for some seconds",
}

USUAL: Final = (Kind.RANK_KILL, Kind.POD_KILL, Kind.PREEMPT, Kind.FREEZE, Kind.OUTAGE)
ON_CLUSTER: Final = (Kind.RANK_KILL, Kind.POD_KILL, Kind.PREEMPT)  # what comes there when nothing is said
HERE_ONLY: Final = frozenset({Kind.OUTAGE, Kind.SLOW})  # a cluster's storage is not ours to break
LASTS: Final = (2.0, 10.0)  # seconds


@dataclass(frozen=True, slots=True)
class Fault:
    """One of a trace. at: seconds since the job's first step; draw: from 0 to below 1, chooses whom it strikes."""

    at: float
    kind: Kind
    draw: float
    seconds: float  # how long it lasts, of those that last


@dataclass(frozen=True, slots=True)
class Struck:
    """A fault that has come. at: Unix seconds; step, committed: of rank 0 as last told, None when it had told nothing."""

    fault: Fault
    at: float
    whom: str
    step: int | None
    committed: int | None


def trace(seed: int, *, count: int, mean_seconds: float, kinds: Sequence[Kind] = USUAL) -> tuple[Fault, ...]:
    """So many faults as a Poisson process; ValueError without kinds or time between them."""
    if not kinds or mean_seconds <= 0:
        raise ValueError("a trace needs kinds of faults, and time between them")
    dice, at, found = random.Random(seed), 0.0, []  # noqa: S311  -- seeded on purpose
    for _ in range(count):
        at += dice.expovariate(1 / mean_seconds)
        found.append(Fault(at, dice.choice(kinds), dice.random(), dice.uniform(*LASTS)))
    return tuple(found)
