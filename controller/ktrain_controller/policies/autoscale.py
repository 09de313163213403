"""The number of nodes by a PromQL query: only for good reasons. The job goes on meanwhile: only elastic ones have a choice."""

import math
from dataclasses import replace
from typing import Final

from ktrain.spec.platform import Autoscale, fewest, most
from ktrain_controller.decision import Decision, Resize, Wait
from ktrain_controller.observation import Observation

LOOK_SECONDS: Final = 15.0
BREACHES: Final = 3  # answers in a row
OLDEST_SECONDS: Final = 120.0


def autoscale(seen: Observation) -> Decision | Wait | None:
    """Missing, stale, NaN, several series: such an answer has no value, and the job stays as it is."""
    wanted = seen.policy.autoscale
    if wanted is None or seen.job.queue:
        return None
    number = _nodes(seen, wanted)
    if number is None or number == seen.job.replicas or not _may(seen, number, wanted):
        return Wait(LOOK_SECONDS)
    assert seen.sample is not None
    message = (
        f"{seen.job.replicas} → {number} nodes: the query says {seen.sample.value:g}, the target is {wanted.target:g}"
    )
    return Decision("autoscale", "Rescaled", message, Resize(number), replace(seen.state, scaled_at=seen.now), "Normal")


def _nodes(seen: Observation, wanted: Autoscale) -> int | None:
    """What the query asks for: twice the target asks for twice the nodes. None: no opinion."""
    sample = seen.sample
    if sample is None or sample.value is None or sample.streak < BREACHES or seen.now - sample.at > OLDEST_SECONDS:
        return None
    number = seen.job.replicas * sample.value / wanted.target - 1e-9
    nodes = seen.policy.nodes
    # Within the limits first: the product of two finite numbers may be infinite, and of that there is no whole number.
    return math.ceil(max(wanted.min, fewest(nodes), min(wanted.max, most(nodes), number)))


def _may(seen: Observation, number: int, wanted: Autoscale) -> bool:
    """Not while pods of the last change are awaited, unless it is to wait for fewer; never in the dark, or during a save."""
    has_cooled = seen.now >= seen.state.scaled_at + wanted.cooldown.total_seconds()
    is_there = seen.is_whole or (number < seen.job.replicas and seen.is_enough)
    is_heard = seen.beat is not None and seen.silence is None and not seen.fleet.is_blind
    is_saving = seen.beat is not None and seen.beat.is_saving
    return has_cooled and is_there and is_heard and not is_saving and seen.fleet.may_act
