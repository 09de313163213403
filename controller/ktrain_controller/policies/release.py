"""A gang that was released comes back when its pause is over."""

from dataclasses import replace
from typing import Final

from ktrain.jobs.workload import Workload
from ktrain_controller.decision import Deactivate, Decision, Deed, NeedsWorkload, Record, Resume, Wait
from ktrain_controller.observation import Observation
from ktrain_controller.state import Release

AGAIN_SECONDS: Final = 5.0


def release(seen: Observation) -> Decision | Wait | NeedsWorkload | None:
    """Ends our own suspension, never a user's."""
    held = seen.state.release
    if held is None:
        return None
    if seen.job.is_suspended and seen.now < held.until:
        return Wait(held.until - seen.now)
    if seen.job.queue and not seen.has_workload_read:
        return NeedsWorkload()
    if seen.workload is not None:
        return _through_kueue(seen, held, seen.workload)
    if not seen.job.is_suspended:
        return _ended_by_others(seen)
    return _ended(seen, held, Resume())


def _through_kueue(seen: Observation, held: Release, workload: Workload) -> Decision | Wait:
    """What the Workload tells: how far our pause has come, and whether it is ours at all."""
    is_over, is_ours = seen.now >= held.until, workload.pause == held.mark
    if workload.is_active:
        if is_over:
            return _ended(seen, held, Record())
        return _ended_by_others(seen) if is_ours else _begun(seen, held, workload)
    if not is_over:
        return Wait(AGAIN_SECONDS)  # Kueue is about to stop the job
    return _ended(seen, held, Resume(workload)) if is_ours else _kept_by_others(seen, workload)


def _begun(seen: Observation, held: Release, workload: Workload) -> Decision:
    """Whoever wrote the pause down got no further."""
    message = f"Workload {workload.name} is still active"
    return Decision("release", held.reason, message, Deactivate(workload), seen.state)


def _ended(seen: Observation, held: Release, deed: Deed) -> Decision:
    return _over(seen, "Resumed", f"tries again after {held.reason}", deed)


def _ended_by_others(seen: Observation) -> Decision:
    return _over(seen, "ResumedByOthers", "somebody ended its pause", Record())


def _kept_by_others(seen: Observation, workload: Workload) -> Decision:
    message = f"the pause is over, but somebody else has made Workload {workload.name} inactive"
    return _over(seen, "PausedByOthers", message, Record())


def _over(seen: Observation, reason: str, message: str, deed: Deed) -> Decision:
    return Decision("release", reason, message, deed, replace(seen.state, release=None), "Normal")
