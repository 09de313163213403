"""A job that takes longer than it may is ended; its pods save within their grace period."""

from dataclasses import replace

from ktrain.units import format_time
from ktrain_controller.decision import Decision, GiveUp, Record, Wait
from ktrain_controller.observation import Observation


def deadline(seen: Observation) -> Decision | Wait | None:
    """spec.deadline, from the first start: the operator's own startTime begins anew at each resume."""
    limit = seen.policy.deadline
    if limit is None or seen.job.started is None:
        return None
    if not seen.state.started:
        state = replace(seen.state, started=seen.job.started)
        return Decision("deadline", "DeadlineSet", f"it may take {format_time(limit)}", Record(), state, "Normal")
    left = min(seen.state.started, seen.job.started) + limit.total_seconds() - seen.now
    if left > 0:
        return Wait(left)
    message = f"it took longer than {format_time(limit)} (spec.deadline); its run is kept"
    return Decision("deadline", "DeadlineExceeded", message, GiveUp(), seen.state)
