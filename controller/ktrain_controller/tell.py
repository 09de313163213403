"""Events of decisions: made from what the job's state says, so that a controller that died before is completed by the next."""

import hashlib
from collections.abc import Collection
from datetime import UTC, datetime
from typing import Any, Final

from ktrain_controller.model import Job
from ktrain_controller.state import Past

Object = dict[str, Any]
COMPONENT: Final = "ktrain-controller"
TOLD_SECONDS: Final = 600.0  # an older decision was told, or nobody waits for it any more
_FINE: Final = frozenset(
    {
        "Expired", "DeadlineSet", "Resumed", "ResumedByOthers", "PausedByOthers", "AttemptRestored", "Rescaled",
        "Finished",
    }
)  # fmt: skip


def untold(decisions: tuple[Past, ...], told: Collection[str], job: Job, now: float) -> tuple[Past, ...]:
    """Of the last minutes, those whose Event is not known to be there."""
    return tuple(it for it in decisions if now - it.at < TOLD_SECONDS and event_name(job, it) not in told)


def event_name(job: Job, past: Past) -> str:
    """The same for the same decision, so that it is told once, by whomever."""
    return _name(job, f"{past.at!r} {past.policy} {past.reason}")


def problem_name(job: Job, mark: str, reason: str) -> str:
    """One Event for each text that cannot be read."""
    return _name(job, f"{mark} {reason}")


def _name(job: Job, what: str) -> str:
    return f"{job.name}.{hashlib.sha256(f'{job.uid} {what}'.encode()).hexdigest()[:16]}"


def event(job: Job, past: Past, name: str) -> Object:
    """A core/v1 Event of the job."""
    at = datetime.fromtimestamp(past.at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return {
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"name": name, "namespace": job.namespace},
        "involvedObject": {
            "apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "name": job.name, "namespace": job.namespace,
            "uid": job.uid, "resourceVersion": job.version,
        },
        "type": "Normal" if past.reason in _FINE else "Warning",
        "reason": past.reason, "message": f"{past.message} (policy {past.policy})"[:1000],
        "source": {"component": COMPONENT}, "reportingComponent": COMPONENT,
        "firstTimestamp": at, "lastTimestamp": at, "count": 1,
    }  # fmt: skip
