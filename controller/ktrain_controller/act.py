"""Does what was decided: write-ahead, each write guarded by leadership, uid and version."""

import hashlib
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

from ktrain.cluster import EVENT, JOB, POD, Cluster
from ktrain.errors import MissingError, TakenError
from ktrain.jobs.cancel import failed
from ktrain.jobs.find import is_running
from ktrain.names import ANNOTATION_REQUEST
from ktrain.request import Request as Word
from ktrain_controller import patches
from ktrain_controller.decision import (
    Deactivate,
    Decision,
    GiveUp,
    Record,
    Remove,
    Request,
    Resize,
    Restart,
    Restore,
    Resume,
    Suspend,
    Sweep,
)
from ktrain_controller.failpoint import Point, reach
from ktrain_controller.model import Job, Pod
from ktrain_controller.observation import Observation
from ktrain_controller.state import State

Object = dict[str, Any]
FORCE: Final = 0  # seconds of grace
TOLD_SECONDS: Final = 5.0
"""The watch brings a pod's deletion later than the answer to it: so long it is not asked for again."""


class NotLeaderError(Exception):
    """Somebody else leads: nothing more may be written."""


class Actor:
    """The only part that changes anything; TakenError says that the observation was old."""

    def __init__(
        self, cluster: Cluster, is_leader: Callable[[], bool], wait: Callable[[], object], *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:  # fmt: skip
        self._cluster, self._is_leader, self._wait, self._clock = cluster, is_leader, wait, clock
        self._told: dict[tuple[str, bool], float] = {}  # pods that were told to go, by uid and force → when

    def act(self, decision: Decision, seen: Observation) -> None:
        """Carries it out, or raises ClusterError, or NotLeaderError, with the rest undone."""
        match decision.deed:
            case Record() | Restore() as deed:
                self._remember(deed, decision.state, seen.job)
            case Restart() as deed:
                self._restart(deed, decision.state, seen)
            case Resize(replicas):
                self._resize(replicas, decision.state, seen.job)
            case Sweep(pods):
                self._delete(seen.job, pods)
            case Suspend(None) | Resume(None) as deed:
                self._set_suspended(deed, decision.state, seen)
            case Suspend() | Deactivate() | Resume() as deed:
                self._through_kueue(deed, decision.state, seen)
            case Request() as deed:
                self._request(deed, decision.state, seen.job)
            case GiveUp():
                self._give_up(decision, seen)
            case Remove():
                self._guard()
                me = seen.job
                self._cluster.delete(JOB, me.namespace, me.name, uid=me.uid, version=me.version)

    def tell(self, event: Object) -> None:
        """Posts an Event, or raises as `act` does; TakenError: it is there. No change of the cluster waits its turn for it."""
        if not self._is_leader():
            raise NotLeaderError
        self._cluster.create(EVENT, event)

    def _remember(self, deed: Record | Restore, state: State, job: Job) -> None:
        if isinstance(deed, Restore):
            self._patch(job, patches.of_attempt(job, state, deed.attempt))
        else:
            self._patch(job, patches.remember(job, state))

    def _restart(self, deed: Restart, state: State, seen: Observation) -> None:
        job = seen.job
        change = patches.next_attempt(job, state)
        if deed.avoid or seen.state.avoid:
            change = patches.elsewhere(change, self._whole(job), avoid=deed.avoid, before=seen.state.avoid)
        reach(Point.BEFORE_INTENT)
        self._patch(job, change)
        reach(Point.AFTER_INTENT)
        assert state.intent is not None
        named = {pod.uid: pod for pod in seen.pods if pod.uid in state.intent.uids}
        self._delete(job, tuple(_target(pod, state.intent.force) for pod in named.values()))

    def _resize(self, replicas: int, state: State, job: Job) -> None:
        assert not job.queue, "Kueue has counted its pods, and stops a job that changes them"
        change = patches.of_size(job, state, self._whole(job), replicas)
        reach(Point.BEFORE_RESIZE)
        self._patch(job, change)
        reach(Point.AFTER_RESIZE)

    def _set_suspended(self, deed: Suspend | Resume, state: State, seen: Observation) -> None:
        change = patches.suspended(seen.job, state, suspend=isinstance(deed, Suspend))
        if isinstance(deed, Suspend) and state.avoid:  # the next attempt is made by the template as it is then
            whole, avoid = self._whole(seen.job), state.avoided(seen.now)
            change = patches.elsewhere(change, whole, avoid=avoid, before=seen.state.avoid)
        self._patch(seen.job, change)
        if isinstance(deed, Suspend):
            reach(Point.AFTER_SUSPEND)
        else:
            reach(Point.AFTER_RESUME)

    def _through_kueue(self, deed: Suspend | Deactivate | Resume, state: State, seen: Observation) -> None:
        """The pause is in the job's state for as long as its Workload may be inactive by it: first of all, and last."""
        assert deed.workload is not None
        held = state.release or seen.state.release
        assert held is not None
        if isinstance(deed, Suspend):
            self._patch(seen.job, patches.next_attempt(seen.job, state))
            reach(Point.AFTER_SUSPEND)
        change = patches.activity(deed.workload, is_active=isinstance(deed, Resume), mark=held.mark)
        self._guard()
        self._cluster.patch(deed.workload.kind, deed.workload.namespace, deed.workload.name, change)
        if isinstance(deed, Resume):
            reach(Point.AFTER_RESUME)
            self._patch(seen.job, patches.remember(seen.job, state))

    def _whole(self, job: Job) -> Object:
        """The object that was decided on; TakenError when it has changed since."""
        found = self._cluster.get(JOB, job.namespace, job.name)
        if found["metadata"]["resourceVersion"] != job.version:
            raise TakenError(f"job {job.key} has changed")
        return found

    def _delete(self, job: Job, pods: tuple[tuple[str, str, bool], ...]) -> None:
        for pod in [it for it, at in tuple(self._told.items()) if at <= self._clock() - TOLD_SECONDS]:
            self._told.pop(pod, None)  # one by one: another worker may be adding
        for number, (name, uid, is_forced) in enumerate(pods):
            if number:
                reach(Point.BETWEEN_DELETES)
            if (uid, is_forced) in self._told:
                continue
            self._guard()
            try:
                self._cluster.delete(POD, job.namespace, name, uid=uid, grace=FORCE if is_forced else None)
            except TakenError:
                continue  # another pod has that name by now
            self._told[uid, is_forced] = self._clock()
        reach(Point.AFTER_DELETES)

    def _request(self, deed: Request, state: State, job: Job) -> None:
        # Named by what it was decided on: asked again, because the state could not be written, it is the same question.
        name = hashlib.sha256(f"{job.uid} {job.version}".encode()).hexdigest()[:16]
        word = Word(deed.ask, name).encode()
        for pod, uid in deed.pods:
            self._guard()
            change = {"metadata": {"uid": uid, "annotations": {ANNOTATION_REQUEST: word}}}
            try:
                asked = self._cluster.patch(POD, job.namespace, pod, change)
            except MissingError as error:  # nobody is there to be asked, so whatever was decided is of another gang
                raise TakenError(f"pod {pod} of job {job.key} has gone") from error
            if not is_running(asked):
                raise TakenError(f"pod {pod} of job {job.key} has ended")
        reach(Point.AFTER_REQUEST)
        self._patch(job, patches.remember(job, state))

    def _give_up(self, decision: Decision, seen: Observation) -> None:
        """The state first: whoever finds it without the condition comes to the same end."""
        job, at = seen.job, datetime.fromtimestamp(seen.now, UTC)  # by the clock that its time to live is measured with
        written = self._patch(job, patches.remember(job, decision.state))
        reach(Point.BEFORE_VERDICT)
        self._guard()
        change = failed(written, reason=f"Ktrain{decision.reason}", message=decision.message, at=at)
        self._cluster.patch(JOB, job.namespace, job.name, change, sub="status")
        reach(Point.AFTER_VERDICT)

    def _patch(self, job: Job, change: Object) -> Object:
        self._guard()
        return self._cluster.patch(JOB, job.namespace, job.name, change)

    def _guard(self) -> None:
        self._wait()  # the limit of requests; afterwards, because leadership may end meanwhile:
        if not self._is_leader():
            raise NotLeaderError


def _target(pod: Pod, force: tuple[str, ...]) -> tuple[str, str, bool]:
    return pod.name, pod.uid, pod.uid in force
