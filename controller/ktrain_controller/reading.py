"""A job's two annotations as data, or why it cannot be decided about. Pure."""

import hashlib
from dataclasses import dataclass

from pydantic import ValidationError

from ktrain.names import ANNOTATION_POLICY, ANNOTATION_STATE
from ktrain.spec.policy import Policy, read_policy
from ktrain_controller.model import Job
from ktrain_controller.state import NewerStateError, State, read_state


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with an annotation, told once for each text of it."""

    reason: str
    message: str
    mark: str


@dataclass(frozen=True, slots=True)
class Reading:
    """policy None: nothing is decided about this job."""

    policy: Policy | None
    state: State
    problem: Problem | None = None


def read(job: Job) -> Reading:
    """Total: whatever somebody has written there."""
    if job.odd:
        message = f"{job.odd}, which is no attempt; nothing is decided about this job"
        return Reading(None, State(), Problem("JobUnreadable", message, _mark(job.odd)))
    try:
        policy = read_policy(job.policy)
    except ValidationError as error:
        return Reading(None, State(), _policy_problem(job, error))
    try:
        return Reading(policy, read_state(job.state))
    except NewerStateError as error:
        message = f"annotation {ANNOTATION_STATE}: {error}; this controller leaves the job alone"
        return Reading(None, State(), Problem("StateOfLaterVersion", message, _mark(job.state)))
    except ValueError as error:
        message = f"annotation {ANNOTATION_STATE} cannot be read ({_short(error)}); its budget begins anew"
        return Reading(policy, State(), Problem("StateUnreadable", message, _mark(job.state)))


def _policy_problem(job: Job, error: ValidationError) -> Problem:
    first = error.errors()[0]
    where = ".".join(map(str, first["loc"]))
    why = f"{where}: {first['msg']}" if where else first["msg"]
    if not job.policy:
        why = "it is missing; was the job submitted by an older ktrain?"
    message = f"annotation {ANNOTATION_POLICY} cannot be read ({why[:300]}); nothing is decided about this job"
    return Problem("PolicyUnreadable", message, _mark(job.policy))


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:200]


def _mark(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]
