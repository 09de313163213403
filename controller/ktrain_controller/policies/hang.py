"""A gang that makes no step, and whose launchers have not dealt with it: they are wedged themselves."""

from dataclasses import replace
from datetime import timedelta
from typing import Final

from ktrain.request import Ask
from ktrain_controller.beat import Beat
from ktrain_controller.decision import Decision, Request, Wait
from ktrain_controller.observation import Observation
from ktrain_controller.policies.gang import charge
from ktrain_controller.state import Incident

STACKS: Final = "stacks"
ANSWER_SECONDS: Final = 2.0
UNKNOWN_LIMIT: Final = 1800.0  # the launcher's own for phases that may take long


def hang(seen: Observation) -> Decision | Wait | None:
    """Asks where all ranks stand first, then restarts the gang."""
    if not seen.is_enough or seen.fleet.is_blind or not _are_nodes_well(seen):
        return None
    since, why = _stands(seen)
    if why is None:
        return Wait(since) if since != float("inf") else None
    asked = seen.state.asked.get(STACKS, 0)
    if asked < since:
        return _ask(seen, why)
    if seen.now < asked + seen.limits.stacks:
        return Wait(asked + seen.limits.stacks - seen.now)
    if seen.silence is not None and seen.silence.is_old:
        return Wait(ANSWER_SECONDS)  # it may have come back since then
    incident = Incident(seen.now, True, why)
    return charge(seen, [incident], policy="hang", reason="Hang", message=why, gang=True)


def _stands(seen: Observation) -> tuple[float, str | None]:
    """(since when, what stands still), or (seconds until that can be said, None)."""
    began = max(pod.started or pod.created for pod in seen.pods if pod.is_up)
    waits = [float("inf")]
    if seen.silence is not None:
        since = max(seen.silence.since, began)
        left = since + seen.limits.silent - seen.now
        if left <= 0:
            return since, f"its launcher has not answered for {seen.now - since:.0f} s"
        waits.append(left)
    beat = seen.beat
    if beat is not None and beat.state == "running" and beat.last_step_at > began:
        limit = (beat.hang_limit or _limit(seen)) + seen.limits.hang_margin
        stood = beat.heard_at - beat.last_step_at  # what came since then has not been heard yet
        if stood >= limit and seen.silence is None:
            return beat.last_step_at, f"no step for {stood:.0f} s; {_first(beat)}"
        waits.append(max(limit - stood, 1.0))
    return min(waits), None


def _limit(seen: Observation) -> float:
    chosen = seen.policy.hang.timeout
    return chosen.total_seconds() if isinstance(chosen, timedelta) else UNKNOWN_LIMIT


def _first(beat: Beat) -> str:
    """The rank that stopped first: the one that got least far, of those that the launcher that was asked knows of."""
    if not beat.ranks:
        return "no rank has reported"
    rank = min(beat.ranks, key=lambda it: (it.step, it.last_step_at))
    among = "of the first pod's ranks " if len(beat.ranks) < beat.world_size else ""
    return f"{among}rank {rank.rank} stopped first (step {rank.step}, phase {rank.phase})"


def _ask(seen: Observation, why: str) -> Decision:
    pods = tuple((pod.name, pod.uid) for pod in seen.pods if pod.is_up)
    state = replace(seen.state, asked={**seen.state.asked, STACKS: seen.now})
    return Decision("hang", "Stalled", f"{why}; asked all ranks where they stand", Request(Ask.STACKS, pods), state)


def _are_nodes_well(seen: Observation) -> bool:
    return all(node.is_ready for pod in seen.pods if (node := seen.node(pod)) is not None)
