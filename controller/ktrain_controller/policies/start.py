"""A gang that does not get whole gives its resources back, and tries again later."""

from collections.abc import Sequence
from typing import Final

from ktrain_controller.decision import Decision, NeedsWorkload, Wait
from ktrain_controller.model import Pod
from ktrain_controller.observation import Observation
from ktrain_controller.policies.gang import released

MISCONFIGURED: Final = 0.2  # of the limit: no node and no patience makes an image appear
FIRST_PAUSE: Final = 60.0
LONGEST_PAUSE: Final = 1800.0
FORGIVEN: Final = 7200.0  # releases that are older do not lengthen the pause


def start(seen: Observation) -> Decision | Wait | NeedsWorkload | None:
    """One pod does not run within the limit while its peers hold what others could use."""
    waiting = [pod for pod in seen.pods if pod.phase == "Pending" and pod.deleting is None]
    if not waiting or seen.is_enough:
        return None
    late, left = _latest(seen, waiting)
    if not any(_holds(pod, late) for pod in seen.pods):
        return None
    if left > 0:
        return Wait(left)
    tries = sum(at > seen.now - FORGIVEN for at in seen.state.releases)
    pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0**tries)
    why = late.waiting or "it is not said why"
    message = f"{late.name} does not run after {seen.now - late.created:.0f} s while its peers wait for it: {why}"
    if seen.job.queue and not seen.has_workload_read:
        return NeedsWorkload()
    if seen.workload and not seen.workload.is_active:
        return None  # Kueue is about to stop it, because somebody else wants that
    return released(seen, seen.state, policy="start", reason="StartTimeout", message=message, pause=pause)


def _holds(peer: Pod, late: Pod) -> bool:
    """Whether what it has is kept from others for nothing: pods that all fetch a large image are about to run."""
    is_stuck_as_well = late.is_misconfigured and peer is not late and bool(peer.node) and peer.phase == "Pending"
    return peer.is_up or (is_stuck_as_well and peer.deleting is None)


def _latest(seen: Observation, waiting: Sequence[Pod]) -> tuple[Pod, float]:
    """The pod that is out of time first, and how many seconds it has left."""
    left = {
        pod: pod.created + seen.limits.start * (MISCONFIGURED if pod.is_misconfigured else 1) - seen.now
        for pod in waiting
    }
    first = min(left, key=lambda pod: left[pod])
    return first, left[first]
