"""A pod failed: the operator replaces it; what it does not know is when to stop, and when one pod is not enough."""

from dataclasses import replace

from ktrain_controller.budget import is_spent
from ktrain_controller.decision import Decision, Wait
from ktrain_controller.incidents import new_incidents, settles_in
from ktrain_controller.observation import Observation
from ktrain_controller.policies.gang import charge


def failure(seen: Observation) -> Decision | Wait | None:
    """Counts incidents, not pods; what the job has not to answer for is free."""
    ours = seen.state.intent.uids if seen.state.intent else ()
    # What we ended ourselves is free, and explains what its peers say of it.
    ends = [replace(pod, is_disrupted=True) if pod.uid in ours else pod for pod in seen.ends]
    charged = [it for it in new_incidents(ends, seen.state.incidents, seen.now) if it.is_charged]
    if charged or _was_spent(seen):
        last = (*seen.state.incidents, *charged)[-1]
        return charge(seen, charged, policy="failure", reason="PodFailed", message=last.what)
    left = settles_in(ends, seen.now)
    return Wait(left) if left is not None else None


def _was_spent(seen: Observation) -> bool:
    """Whoever counted the last incident ended before it could give the job up."""
    return seen.commit <= seen.state.commit and is_spent(seen.state.incidents, seen.policy.restart, seen.now)
