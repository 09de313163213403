"""A job whose training is over does not wait for a pod that never came."""

from itertools import count
from typing import Final

from ktrain.units import counted
from ktrain_controller.decision import Decision, Resize, Wait
from ktrain_controller.observation import Observation

COMES_SECONDS: Final = 30.0  # a pod that replaces one that died after the end has only to start, and leaves


def leftover(seen: Observation) -> Decision | Wait | None:
    """A pod succeeds when its whole gang has agreed that it is done: whoever is still waiting for a node has nothing to do."""
    done = {pod.index for pod in seen.pods if pod.phase == "Succeeded"}
    if not done or not seen.alive or seen.job.queue or any(pod.phase != "Pending" for pod in seen.alive):
        return None
    number = next(index for index in count() if index not in done)
    if not 0 < number < seen.job.replicas:
        return None
    left = max(pod.created for pod in seen.alive) + COMES_SECONDS - seen.now
    if left > 0:
        return Wait(left)
    message = f"training is over, and {counted(seen.job.replicas - number, 'pod')} never came to take part"
    return Decision("leftover", "Finished", message, Resize(number), seen.state, "Normal")
