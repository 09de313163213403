"""Finishes what was begun: pods that an intent names go, whoever wrote it."""

from typing import Final

from ktrain_controller.decision import Decision, Sweep, Wait
from ktrain_controller.model import Pod
from ktrain_controller.observation import Observation
from ktrain_controller.state import Intent

AGAIN_SECONDS: Final = 5.0


def sweep(seen: Observation) -> Decision | Wait | None:
    """Deletes what is left of the intent, and looks again until it is gone."""
    intent = seen.state.intent
    if intent is None or seen.job.is_suspended:
        return None
    named = [pod for pod in seen.pods if pod.uid in intent.uids]
    left = tuple((pod.name, pod.uid, pod.uid in intent.force) for pod in named if _is_left(pod, intent))
    if left:
        names = ", ".join(name for name, _, _ in left)
        return Decision(
            "sweep", intent.reason, f"replaces {names} in attempt {intent.attempt}", Sweep(left), seen.state
        )
    return Wait(AGAIN_SECONDS) if named else None


def _is_left(pod: Pod, intent: Intent) -> bool:
    """Whether it has to be told to go; one that was told by force and is still there waits for somebody's finalizer."""
    if pod.phase in {"Succeeded", "Failed"}:
        return False
    is_forced_already = pod.deleting is not None and pod.deleted == pod.deleting
    return pod.deleting is None or (pod.uid in intent.force and not is_forced_already)
