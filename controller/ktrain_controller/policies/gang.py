"""What policies have in common: another try for the whole gang, paid for or not."""

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Final

from ktrain.units import counted, format_time
from ktrain_controller import budget
from ktrain_controller.decision import Decision, Deed, GiveUp, Record, Restart, Suspend
from ktrain_controller.incidents import covers, ended_at
from ktrain_controller.model import Pod
from ktrain_controller.observation import Observation
from ktrain_controller.state import MAX_INCIDENTS, Incident, Intent, Release, State

TOGETHER: Final = 2
"""After so many failures with no commit between them, replacing one pod did not help: all are replaced. Not when the gang
can train again by the time that a failure counts, as after an echo: it trains by then."""


def charge(
    seen: Observation, incidents: Iterable[Incident], *, policy: str, reason: str, message: str, gang: bool = False
) -> Decision:
    """Counts these incidents; then gives up, tries again together, or lets the operator replace the one pod."""
    state = _count(seen, incidents)
    counted = budget.charged(state.incidents, seen.policy.restart, seen.now)
    if budget.is_spent(state.incidents, seen.policy.restart, seen.now):
        return Decision(policy, "RestartsExhausted", _given_up(seen, len(counted), message), GiveUp(), state)
    left = f"; failure {len(counted)} of {seen.policy.restart.max}"
    if not gang and (len(counted) < TOGETHER or seen.is_enough):
        return Decision(policy, reason, f"{message}{left}", Record(), state)
    seconds = seen.policy.restart.pause(len(counted)).total_seconds()
    return again(seen, state, policy=policy, reason=reason, message=f"{message}{left}", pause=seconds)


def again(
    seen: Observation, state: State, *, policy: str, reason: str, message: str, pause: float = 0,
    pods: Iterable[Pod] | None = None, force: Iterable[Pod] = (), avoid: tuple[str, ...] = (),
) -> Decision:  # fmt: skip
    """Another attempt: these pods, by default all, are replaced at once; or all leave, and come back after a pause."""
    if pause > 0 and not seen.job.queue:  # a job of Kueue's would lose its quota by that, and queue for it anew
        return released(seen, state, policy=policy, reason=reason, message=message, pause=pause)
    chosen = seen.alive if pods is None else tuple(pods)
    forced = tuple(pod.uid for pod in force)
    intent = Intent(seen.job.attempt + 1, reason, tuple(pod.uid for pod in chosen), forced)
    kept = {node: state.avoid[node] for node in state.avoided(seen.now)}
    state = replace(state, intent=intent, avoid={**kept, **dict.fromkeys(avoid, seen.now + seen.limits.avoid)})
    deed: Deed = Restart(avoid=tuple(sorted(state.avoid)))
    return Decision(policy, reason, message, deed, state)


def released(seen: Observation, state: State, *, policy: str, reason: str, message: str, pause: float) -> Decision:
    """All leave, and give back what they hold; they come again after a pause."""
    release = Release(seen.now + pause, reason, since=seen.now)
    state = replace(
        state, release=release, releases=(*state.releases, seen.now)[-16:], intent=_left(seen, state, reason)
    )
    return Decision(policy, reason, f"{message}; tries again in {pause:g} s", Suspend(seen.workload), state)


def _left(seen: Observation, state: State, reason: str) -> Intent | None:
    """After the pause these pods are no gang, though a cache that is behind shows them: they would hang, and go again."""
    if seen.job.queue:  # the operator takes them away when Kueue has suspended the job, and would replace them before
        return state.intent
    return Intent(seen.job.attempt + 1, reason, tuple(pod.uid for pod in seen.alive))


def _count(seen: Observation, incidents: Iterable[Incident]) -> State:
    """A newer commit than at the last incident gives the whole budget back."""
    known, since = seen.state.incidents, seen.now - seen.policy.restart.window.total_seconds()
    if seen.commit > seen.state.commit:
        known, since = tuple(replace(it, is_charged=False) for it in known), math.inf
    kept = [it for it in known if it.at > since or _is_remembered(seen, it)]
    return replace(seen.state, incidents=(*kept, *incidents)[-MAX_INCIDENTS:], commit=seen.commit)


def _is_remembered(seen: Observation, incident: Incident) -> bool:
    """Whether an end of it is: without the incident, that would be counted again."""
    return any(covers(incident, pod, ended_at(pod, seen.now)) for pod in seen.ends)


def _given_up(seen: Observation, count: int, message: str) -> str:
    window = format_time(seen.policy.restart.window)
    return (
        f"gave up after {counted(count, 'failure')} within {window} without a newer checkpoint; the last one: {message}"
    )
