"""One observation in, one decision out: the first policy that speaks wins. Pure and total."""

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from ktrain_controller.decision import Decision, GiveUp, NeedsWorkload, Verdict, Wait
from ktrain_controller.observation import Observation
from ktrain_controller.policies.attempt import attempt
from ktrain_controller.policies.autoscale import autoscale
from ktrain_controller.policies.deadline import deadline
from ktrain_controller.policies.ended import ttl
from ktrain_controller.policies.failure import failure
from ktrain_controller.policies.hang import hang
from ktrain_controller.policies.leftover import leftover
from ktrain_controller.policies.node import lost_node, notice
from ktrain_controller.policies.release import release
from ktrain_controller.policies.start import start
from ktrain_controller.policies.straggler import straggler
from ktrain_controller.policies.sweep import sweep
from ktrain_controller.state import Past

Policy = Callable[[Observation], Decision | Wait | NeedsWorkload | None]

OF_ENDED: Final[tuple[Policy, ...]] = (ttl,)
OF_SUSPENDED: Final[tuple[Policy, ...]] = (attempt, release)
OF_RUNNING: Final[tuple[Policy, ...]] = (
    attempt, sweep, deadline, release, lost_node, failure, leftover, start, hang, notice, autoscale, straggler,
)  # fmt: skip


def decide(seen: Observation) -> Verdict:
    """What to do now, and when to look again if nothing happens before."""
    waits: list[float] = []
    for policy in _policies(seen):
        said = policy(seen)
        if isinstance(said, Decision):
            return Verdict(_remember(said, seen.now), min(waits, default=None))
        if isinstance(said, NeedsWorkload):
            return Verdict(needs_workload=True)
        if isinstance(said, Wait):
            waits.append(said.seconds)
    return Verdict(None, min(waits, default=None))


def _policies(seen: Observation) -> tuple[Policy, ...]:
    if seen.job.has_ended:
        return OF_ENDED
    return OF_SUSPENDED if seen.job.is_suspended else OF_RUNNING


def _remember(decision: Decision, now: float) -> Decision:
    if _is_written(decision):
        return decision
    past = Past(now, decision.policy, decision.reason, decision.message)
    return replace(decision, state=decision.state.note(past))


def _is_written(decision: Decision) -> bool:
    """Whether it is the end of a job that was decided before, and not carried out: it would be told twice."""
    last = decision.state.decisions[-1:]
    return isinstance(decision.deed, GiveUp) and any(it.reason == decision.reason for it in last)
