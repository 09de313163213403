"""The number of nodes by a PromQL query: only for good reasons, and only right after a commit."""

import math
from dataclasses import replace
from typing import Final

from ktrain.request import Ask
from ktrain.spec.platform import Autoscale, fewest, most
from ktrain_controller.decision import Decision, Request, Restart, Wait
from ktrain_controller.observation import Observation
from ktrain_controller.state import Intent

LOOK_SECONDS: Final = 15.0
BREACHES: Final = 3  # answers in a row
OLDEST_SECONDS: Final = 120.0
FRESH_SECONDS: Final = 30.0  # a commit that new loses next to nothing
ASK_AGAIN: Final = 120.0
ASKED: Final = "rescale"


def autoscale(seen: Observation) -> Decision | Wait | None:
    """Missing, stale, NaN, several series: such an answer has no value, and the job stays as it is."""
    wanted = seen.policy.autoscale
    if wanted is None or seen.job.queue:
        return None
    number = _nodes(seen, wanted)
    has_cooled = seen.now >= seen.state.scaled_at + wanted.cooldown.total_seconds()
    is_free = seen.is_whole and seen.fleet.may_act and not seen.fleet.is_blind
    if number is None or number == seen.job.replicas or not has_cooled or not is_free:
        return Wait(LOOK_SECONDS)
    return _rescale(seen, number, wanted) if _has_just_committed(seen) else _ask(seen)


def _nodes(seen: Observation, wanted: Autoscale) -> int | None:
    """What the query asks for: twice the target asks for twice the nodes. None: no opinion."""
    sample = seen.sample
    if sample is None or sample.value is None or sample.streak < BREACHES or seen.now - sample.at > OLDEST_SECONDS:
        return None
    number = seen.job.replicas * sample.value / wanted.target - 1e-9
    nodes = seen.policy.nodes
    # Within the limits first: the product of two finite numbers may be infinite, and of that there is no whole number.
    return math.ceil(max(wanted.min, fewest(nodes), min(wanted.max, most(nodes), number)))


def _has_just_committed(seen: Observation) -> bool:
    beat = seen.beat
    if beat is None or beat.is_saving or seen.silence is not None:
        return False
    return beat.checkpoint_step >= 0 and seen.now - beat.checkpoint_at <= FRESH_SECONDS


def _ask(seen: Observation) -> Decision | Wait:
    asked = seen.state.asked.get(ASKED, 0)
    first = next((pod for pod in seen.pods if pod.is_up), None)
    if first is None or seen.now < asked + ASK_AGAIN or (seen.beat and seen.beat.is_saving):
        return Wait(1.0)
    state = replace(seen.state, asked={**seen.state.asked, ASKED: seen.now})
    message = "asked for a checkpoint, to change the number of nodes right after it"
    return Decision(
        "autoscale", "RescaleSoon", message, Request(Ask.CHECKPOINT, ((first.name, first.uid),)), state, "Normal"
    )


def _rescale(seen: Observation, number: int, wanted: Autoscale) -> Decision:
    assert seen.sample is not None
    intent = Intent(seen.job.attempt + 1, "Rescaled", tuple(pod.uid for pod in seen.alive))
    state = replace(seen.state, intent=intent, scaled_at=seen.now)
    message = (
        f"{seen.job.replicas} → {number} nodes: the query says {seen.sample.value:g}, the target is {wanted.target:g}"
    )
    # What a job avoids it avoids on another number of nodes too: without them here, the wish would be taken back.
    deed = Restart(avoid=seen.state.avoided(seen.now), replicas=number)
    return Decision("autoscale", "Rescaled", message, deed, state, "Normal")
