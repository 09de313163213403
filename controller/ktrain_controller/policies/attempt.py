"""New pods carry the newest attempt, whatever Kueue has made of the job's template."""

from ktrain_controller.decision import Decision, Restore
from ktrain_controller.observation import Observation


def attempt(seen: Observation) -> Decision | None:
    """Kueue stops a job with the template of when it queued it: storage refuses pods of that attempt as zombies."""
    job = seen.job
    if not job.queue or job.attempt >= job.newest_attempt:
        return None
    message = (
        f"Kueue put its template back to attempt {job.attempt}; new pods are of attempt {job.newest_attempt} again"
    )
    return Decision("attempt", "AttemptRestored", message, Restore(job.newest_attempt), seen.state, "Normal")
