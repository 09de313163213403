"""One look at one job: observe, decide, act, tell."""

import threading
import time
from dataclasses import replace
from typing import Final

from ktrain.cluster import Cluster
from ktrain.errors import ClusterError, ForbiddenError, NoKindError, TakenError
from ktrain.jobs.workload import find_workload
from ktrain.voice import Say
from ktrain_controller import tell
from ktrain_controller.act import Actor
from ktrain_controller.decide import decide
from ktrain_controller.decision import Decision, Record, Remove, Request, Sweep, Verdict
from ktrain_controller.failpoint import Point, reach
from ktrain_controller.latency import Latency
from ktrain_controller.limit import Allowance
from ktrain_controller.metrics import Metrics
from ktrain_controller.model import Job
from ktrain_controller.observation import Observation
from ktrain_controller.reading import Problem, read
from ktrain_controller.state import Past
from ktrain_controller.world import World

SOON: Final = 5.0  # after an action, when nothing else wakes us
REMEMBERED: Final = 100_000  # names of Events
REHEARSED: Final = 8  # decisions of one look, none of which ends a pod


class Reconciler:
    """Workers share it; the queue sees to it that no job has two of them."""

    def __init__(
        self, world: World, cluster: Cluster, actor: Actor, *, allowance: Allowance, metrics: Metrics, say: Say,
        is_dry: bool = False,
    ) -> None:  # fmt: skip
        self._world, self._cluster, self._actor = world, cluster, actor
        self._allowance, self._metrics, self._say, self._is_dry = allowance, metrics, say, is_dry
        self._latency = Latency(metrics.restart.observe)
        self._told: dict[str, None] = {}  # in order of telling
        self._lock = threading.Lock()

    def look(self, key: str) -> float | None:
        """Seconds until the next look, None when only a change can bring one. ClusterError: try again."""
        job = self._world.jobs.get(key)
        if job is None:
            self._world.ends.drop(key)
            self._latency.forget(key)
            return None
        if job.is_suspended or job.has_ended:
            self._world.ends.drop(key)
        reading = read(job)
        if reading.problem:
            self._tell_problem(job, reading.problem)
        if reading.policy is None:
            return None
        seen = self._world.observe(job, reading.policy, reading.state)
        self._latency.look(seen)
        is_told = self._tell(job, seen.state.decisions, seen.now)
        if self._is_dry:
            return self._rehearse(seen)
        seen, verdict = self._decide(seen)
        if verdict.decision is not None:
            return self._carry_out(verdict.decision, seen)
        return verdict.look_again if is_told else min(SOON, verdict.look_again or SOON)

    def _rehearse(self, seen: Observation) -> float | None:
        """A dry run writes nothing down: what was only that is taken as done, or it would keep the rest from being decided."""
        for _ in range(REHEARSED):
            seen, verdict = self._decide(seen)
            if verdict.decision is None:
                break
            self._announce(verdict.decision, seen)
            if not isinstance(verdict.decision.deed, Record | Request):
                break
            seen = replace(seen, state=verdict.decision.state)
        return verdict.look_again

    def _decide(self, seen: Observation) -> tuple[Observation, Verdict]:
        verdict = decide(seen)
        if not verdict.needs_workload:
            return seen, verdict
        known = self._with_workload(seen)
        return known, decide(known)

    def _with_workload(self, seen: Observation) -> Observation:
        try:
            found = find_workload(self._cluster, seen.job.namespace, seen.job.uid)
        except NoKindError:  # without Kueue the label is only a label
            found = None
        return replace(seen, workload=found, has_workload_read=True)

    def _carry_out(self, decision: Decision, seen: Observation) -> float | None:
        if isinstance(decision.deed, Remove) and not self._tell_end(seen.job, decision):
            return SOON
        if decision.is_destructive and not self._allowance.take():
            self._say("held_back", job=seen.job.key, policy=decision.policy, reason=decision.reason)
            return SOON
        begun = time.monotonic()
        try:
            self._actor.act(decision, seen)
        except TakenError:  # the watch has not brought the newest version yet; it will, and wake us
            if decision.is_destructive:
                self._allowance.give_back()
            return 1.0
        self._metrics.decided(decision)
        self._latency.begin(decision, seen)
        self._note_detection(decision, seen)
        if not isinstance(decision.deed, Sweep):
            self._say(
                "decided", job=seen.job.key, policy=decision.policy, reason=decision.reason, message=decision.message,
                deed=type(decision.deed).__name__, attempt=seen.job.attempt, seconds=time.monotonic() - begun,
            )  # fmt: skip
        return SOON

    def _note_detection(self, decision: Decision, seen: Observation) -> None:
        if decision.policy == "failure" and seen.ends:
            newest = max(decision.state.incidents, key=lambda it: it.at, default=None)
            if newest:
                self._metrics.detection.observe(max(0.0, seen.now - newest.at))

    # -- Events --------------------------------------------------------------------------------------------------------
    def _tell(self, job: Job, decisions: tuple[Past, ...], now: float) -> bool:
        """Whether all is told: of a job that has ended nothing else would wake us."""
        is_told = True
        for past in tell.untold(decisions, self._told.keys(), job, now):
            reach(Point.BEFORE_EVENT)
            is_told &= self._post(job, past, tell.event_name(job, past))
        return is_told

    def _tell_end(self, job: Job, decision: Decision) -> bool:
        """Beforehand, once: nobody will read the state of an object that is gone."""
        name = tell.problem_name(job, decision.policy, decision.reason)
        return name in self._told or self._post(job, decision.state.decisions[-1], name)

    def _tell_problem(self, job: Job, problem: Problem) -> None:
        name = tell.problem_name(job, problem.mark, problem.reason)
        if name not in self._told:
            self._say("unreadable", job=job.key, reason=problem.reason, message=problem.message)
            self._post(job, Past(self._world.now(), "read", problem.reason, problem.message), name)

    def _announce(self, decision: Decision, seen: Observation) -> None:
        """A dry run's only deed, once for each decision."""
        mark = f"{decision.policy} {type(decision.deed).__name__} {seen.job.attempt}"
        name = tell.problem_name(seen.job, mark, decision.reason)
        if name not in self._told:
            self._metrics.decided(decision)
            self._say("would", job=seen.job.key, policy=decision.policy, reason=decision.reason)
            past = Past(seen.now, decision.policy, decision.reason, f"dry run: would have acted: {decision.message}")
            self._post(seen.job, past, name)

    def _post(self, job: Job, past: Past, name: str) -> bool:
        """Whether it is there."""
        try:
            self._actor.tell(tell.event(job, past, name))
        except TakenError:  # a controller before us has told it
            self._say("told_before", job=job.key, reason=past.reason)
        except ForbiddenError as error:  # trying again would not help
            self._say("event_failed", job=job.key, reason=past.reason, error=error)
        except ClusterError as error:
            self._say("event_failed", job=job.key, reason=past.reason, error=error)
            return False
        self._remember(name)
        return True

    def _remember(self, name: str) -> None:
        with self._lock:
            self._told[name] = None
            while len(self._told) > REMEMBERED:
                del self._told[next(iter(self._told))]
