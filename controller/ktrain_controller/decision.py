"""What a policy can want, as data: `act` does it, tests compare it."""

from dataclasses import dataclass
from typing import Literal

from ktrain.request import Ask
from ktrain_controller.state import State


@dataclass(frozen=True, slots=True)
class Record:
    """Nothing but the state, and an Event."""


@dataclass(frozen=True, slots=True)
class Restart:
    """These pods go; their successors carry the next attempt. state.intent names them."""

    avoid: tuple[str, ...] = ()  # nodes that the successors should not be put on, as far as others will take them
    replicas: int | None = None  # another number of pods


@dataclass(frozen=True, slots=True)
class Sweep:
    """What is left of an intent: (name, uid, whether by force)."""

    pods: tuple[tuple[str, str, bool], ...]


@dataclass(frozen=True, slots=True)
class Suspend:
    """All pods go, and none come, until the job is resumed."""


@dataclass(frozen=True, slots=True)
class Resume:
    """The job may have pods again."""


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


Deed = Record | Restart | Sweep | Suspend | Resume | GiveUp | Request | Remove


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
        return isinstance(self.deed, Restart | Suspend | GiveUp | Remove)


@dataclass(frozen=True, slots=True)
class Wait:
    """Nothing yet; look again after so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of all policies together."""

    decision: Decision | None = None
    look_again: float | None = None  # seconds
