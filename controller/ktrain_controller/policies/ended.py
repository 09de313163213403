"""A job that has ended is kept for its time to live, then its object goes; its run stays in storage."""

from ktrain.units import format_time
from ktrain_controller.decision import Decision, Remove, Wait
from ktrain_controller.observation import Observation


def ttl(seen: Observation) -> Decision | Wait | None:
    """spec.ttl, from the end."""
    if not seen.job.has_ended or seen.job.ended is None:
        return None
    left = seen.job.ended + seen.policy.ttl.total_seconds() - seen.now
    if left > 0:
        return Wait(left)
    message = f"it ended more than {format_time(seen.policy.ttl)} ago (spec.ttl); its run stays in storage"
    return Decision("ttl", "Expired", message, Remove(), seen.state, "Normal")
