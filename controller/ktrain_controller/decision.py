"""What a policy can want, as data: `act` does it, tests compare it."""

from dataclasses import dataclass
from typing import Literal

from ktrain.jobs.workload import Workload
from ktrain.request import Ask
from ktrain_controller.state import State


@dataclass(frozen=True, slots=True)
class Record:
    """Nothing but the state, and an Event."""


@dataclass(frozen=True, slots=True)
class Restart:
    """These pods go; their successors carry the next attempt. state.intent names them."""

    avoid: tuple[str, ...] = ()  # nodes that the successors should not be put on, as far as others will take them


@dataclass(frozen=True, slots=True)
class Resize:
    """Another number of pods for an elastic job: who comes joins, who goes saves first, the others go on."""

    replicas: int


@dataclass(frozen=True, slots=True)
class Sweep:
    """What is left of an intent: (name, uid, whether by force)."""

    pods: tuple[tuple[str, str, bool], ...]


@dataclass(frozen=True, slots=True)
class Suspend:
    """All pods go, and none come, until the job is resumed; by way of its Workload, where Kueue owns the job."""

    workload: Workload | None = None


@dataclass(frozen=True, slots=True)
class Deactivate:
    """What is left of such a pause, which is in state.release already."""

    workload: Workload


@dataclass(frozen=True, slots=True)
class Resume:
    """The job may have pods again; when, says Kueue, where it owns the job."""

    workload: Workload | None = None


@dataclass(frozen=True, slots=True)
class Restore:
    """New pods carry this attempt, which they should have carried all along."""

    attempt: int


@dataclass(frozen=True, slots=True)
class GiveUp:
    """The job ends as Failed."""


@dataclass(frozen=True, slots=True)
class Request:
    """A question to these launchers, by pod name and uid."""

    ask: Ask
    pods: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Remove:
    """The job's object goes; its run stays in storage."""


Deed = Record | Restore | Restart | Resize | Sweep | Suspend | Deactivate | Resume | GiveUp | Request | Remove


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do about one job, why, and what to remember."""

    policy: str
    reason: str  # CamelCase, as Events have it
    message: str
    deed: Deed
    state: State
    level: Literal["Normal", "Warning"] = "Warning"

    @property
    def is_destructive(self) -> bool:
        """Whether it ends pods that might be training."""
        return isinstance(self.deed, Restart | Resize | Suspend | GiveUp)


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing yet; look again after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class NeedsWorkload:
    """It depends on the job's Workload, which costs a request; nobody watches Workloads."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of all policies together."""

    decision: Decision | None = None
    look_again: float | None = None  # seconds
    needs_workload: bool = False  # and nothing is decided before it was read
