"""A gang that was released comes back when its pause is over."""

from dataclasses import replace

from ktrain_controller.decision import Decision, Record, Resume, Wait
from ktrain_controller.observation import Observation


def release(seen: Observation) -> Decision | Wait | None:
    """Ends our own suspension, never a user's."""
    held = seen.state.release
    if held is None:
        return None
    state = replace(seen.state, release=None)
    if not seen.job.is_suspended:
        return Decision("release", "ResumedByOthers", "somebody ended its pause", Record(), state, "Normal")
    if seen.now < held.until:
        return Wait(held.until - seen.now)
    return Decision("release", "Resumed", f"tries again after {held.reason}", Resume(), state, "Normal")
