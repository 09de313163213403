"""What the controller knows of the cluster's objects: the few fields it decides by, frozen. Times are Unix seconds."""

from dataclasses import dataclass
from typing import Literal

Phase = Literal["Pending", "Running", "Succeeded", "Failed", "Unknown"]


@dataclass(frozen=True, slots=True)
class Exit:
    """How a container ended."""

    code: int
    reason: str  # Kubernetes' word: Error, OOMKilled, StartError, …
    at: float | None = None
    cause: str = ""  # the launcher's word, empty when it could not speak
    message: str = ""
    rank: int | None = None
    step: int | None = None
    checkpoint: int | None = None  # step of the newest commit that it knew


@dataclass(frozen=True, slots=True)
class Pod:
    """One pod of a job."""

    namespace: str
    name: str
    uid: str
    version: str
    job: str
    index: int
    attempt: int
    phase: Phase
    created: float
    node: str = ""
    ip: str = ""
    port: int = 0  # of its launcher's pages
    started: float | None = None
    deleting: float | None = None  # when it has to be gone: deletionTimestamp, which includes the grace period
    deleted: float | None = None  # when that was asked for
    reason: str = ""  # of the pod's end, when it was not its container's: Evicted, NodeLost, …
    is_disrupted: bool = False  # condition DisruptionTarget: preempted, drained, evicted
    waiting: str = ""  # why it does not run yet, in a sentence
    is_misconfigured: bool = False  # image, Secret or ConfigMap: trying again without a change helps nobody
    exit: Exit | None = None

    @property
    def key(self) -> str:
        """Unique among pods."""
        return f"{self.namespace}/{self.name}"

    @property
    def owner(self) -> str:
        """The job's key."""
        return f"{self.namespace}/{self.job}"

    @property
    def is_up(self) -> bool:
        """Whether its launcher can be spoken to."""
        return self.phase == "Running" and self.deleting is None


@dataclass(frozen=True, slots=True)
class Job:
    """One PyTorchJob of ours."""

    namespace: str
    name: str
    uid: str
    version: str
    created: float
    attempt: int  # that new pods will carry
    replicas: int
    is_suspended: bool
    queue: str  # Kueue's LocalQueue, empty without one
    policy: str  # annotation, as it is written
    state: str  # annotation, as it is written
    phase: str  # the newest condition that holds: Created, Running, Restarting, Suspended, Succeeded, Failed
    started: float | None = None
    ended: float | None = None  # completionTime, else when the ending condition came
    newest_attempt: int = 0  # that it was ever given: Kueue may have put the template back since
    since: float = 0.0  # of the phase
    gpus: int = 0  # that one pod asks for
    odd: str = ""  # what somebody has made of it that nobody can decide by

    @property
    def key(self) -> str:
        """Unique among jobs."""
        return f"{self.namespace}/{self.name}"

    @property
    def has_ended(self) -> bool:
        """Whether nothing can be done for it any more."""
        return self.phase in {"Succeeded", "Failed"}


@dataclass(frozen=True, slots=True)
class Node:
    """One node."""

    name: str
    version: str
    is_ready: bool
    since: float  # of that
    notice: str = ""  # key of a taint that announces its end

    @property
    def key(self) -> str:
        """Unique among nodes."""
        return self.name
