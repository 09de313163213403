"""What really happened to a job, as nobody but the test knows it. Times are the test's, which are never set."""

from dataclasses import dataclass, field

from ktrain_controller.state import State


@dataclass(frozen=True, slots=True)
class Charge:
    """A failure that the job has to answer for."""

    uid: str  # the pod's
    at: float
    is_echo: bool  # a pod that went would explain it
    is_paused: bool  # the job was suspended, and its pods were about to go


@dataclass(slots=True)
class Truth:
    """Of one job, and what the controller has written of it."""

    is_calm: bool  # nothing that it would have to answer for
    charges: dict[str, Charge] = field(default_factory=dict)  # by the message that the container left
    ends: list[float] = field(default_factory=list)  # all, of whatever kind
    orphans: dict[str, float] = field(default_factory=dict)  # ends by the loss of a node: their message → when
    lost: list[float] = field(default_factory=list)  # when the controller gave pods up with their node
    hangs: set[str] = field(default_factory=set)  # that were called, and rightly
    counted: set[str] = field(default_factory=set)  # charges that the controller has counted so far
    state: State = field(default_factory=State)  # newest that was written
    attempt: int = 1
