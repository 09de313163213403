"""A gang of Kueue's is released through its Workload, comes back, and keeps its attempt, whoever dies in between."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import pytest

from ktrain.cluster import WORKLOAD, Cluster
from ktrain.errors import ForbiddenError
from ktrain.jobs.find import is_suspended
from ktrain.jobs.pause import keep_suspended, resume
from ktrain.jobs.workload import Workload
from ktrain.names import ANNOTATION_ATTEMPT, ANNOTATION_PAUSE, ANNOTATION_STATE
from ktrain.render import render
from ktrain_controller import patches, project
from ktrain_controller.act import NotLeaderError
from ktrain_controller.decide import decide
from ktrain_controller.decision import Deactivate, Decision, Record, Restart, Restore, Resume, Suspend
from ktrain_controller.observation import Observation
from ktrain_controller.state import Release, State
from tests.controller.fake_objects import TABLES, Object
from tests.controller.mind import Clock, Mind, odd
from tests.controller.operator import NAMESPACE, Ledger, Operator, attempt_of, state_of
from tests.controller.seen import NOW, failed, incidents, job, pod, seen
from tests.kueue import Kueue
from tests.render.test_render import job as job_file

PAUSE: Final = Release(NOW + 20, "StartTimeout", NOW - 40)
ACTIVE: Final = Workload(WORKLOAD, NAMESPACE, "w", "w-1", "7", is_active=True)
INACTIVE: Final = replace(ACTIVE, is_active=False)
OURS: Final = replace(INACTIVE, pause=PAUSE.mark)


def decision(what: Observation) -> Decision:
    found = decide(what).decision
    assert found is not None
    return found


def read(workload: Workload | None, **fields: Any) -> Observation:
    """Of a job of Kueue's, with its Workload in sight."""
    kept = {"queue": "gpu", **fields.pop("job", {})}
    return seen(job=job(**kept), workload=workload, has_workload_read=True, **fields)


# -- start -------------------------------------------------------------------------------------------------------------
LATE: Final = (pod(0), pod(1, phase="Pending", node="", waiting="no node takes it", created=NOW - 601))


def test_nothing_is_decided_before_the_workload_was_read() -> None:
    verdict = decide(seen(job=job(queue="gpu"), pods=LATE))
    assert (verdict.needs_workload, verdict.decision) == (True, None)


def test_a_gang_of_kueues_gives_its_resources_back_through_its_workload() -> None:
    found = decision(read(ACTIVE, pods=LATE))
    assert (found.reason, found.deed) == ("StartTimeout", Suspend(ACTIVE))
    assert found.state.release == Release(NOW + 60, "StartTimeout", NOW)


def test_what_somebody_else_stops_is_not_released() -> None:
    assert decide(read(INACTIVE, pods=LATE)).decision is None


def test_a_queue_that_nobody_serves_is_only_a_label() -> None:
    assert decision(read(None, pods=LATE)).deed == Suspend()


def test_a_gang_that_failed_keeps_its_quota_and_is_replaced_at_once() -> None:
    state = State(incidents=incidents(1), commit=90)
    again: dict[str, Any] = {"ends": (failed(created=NOW - 100),), "pods": (pod(1),), "state": state}
    assert isinstance(decision(seen(job=job(queue="gpu"), **again)).deed, Restart)
    assert isinstance(decision(seen(**again)).deed, Suspend)


# -- a pause -----------------------------------------------------------------------------------------------------------
def held(workload: Workload | None, *, suspended: bool, over: bool = False) -> Observation:
    now = PAUSE.until if over else NOW
    return read(workload, now=now, job={"is_suspended": suspended}, state=State(release=PAUSE))


@pytest.mark.parametrize(
    ("what", "reason", "deed"),
    [
        (held(ACTIVE, suspended=False), "StartTimeout", Deactivate(ACTIVE)),
        (held(replace(ACTIVE, pause="1.0"), suspended=False), "StartTimeout", Deactivate(replace(ACTIVE, pause="1.0"))),
        (held(replace(OURS, is_active=True), suspended=False), "ResumedByOthers", Record()),
        (held(ACTIVE, suspended=False, over=True), "Resumed", Record()),
        (held(OURS, suspended=True, over=True), "Resumed", Resume(OURS)),
        (held(OURS, suspended=False, over=True), "Resumed", Resume(OURS)),
        (held(replace(OURS, is_active=True), suspended=True, over=True), "Resumed", Record()),
        (held(INACTIVE, suspended=True, over=True), "PausedByOthers", Record()),
        (held(None, suspended=True, over=True), "Resumed", Resume()),
        (held(None, suspended=False), "ResumedByOthers", Record()),
    ],
    ids=[
        "not begun", "marked by an earlier one", "ended by a user", "never begun", "over", "over before Kueue heard",
        "resumed, not written", "not ours", "no Kueue any more", "no Kueue, ended",
    ],
)  # fmt: skip
def test_a_pause_goes_on_where_its_workload_says_that_it_is(what: Observation, reason: str, deed: Any) -> None:
    found = decision(what)
    assert (found.reason, found.deed) == (reason, deed)
    assert (found.state.release is None) == (not isinstance(deed, Deactivate))


@pytest.mark.parametrize("workload", [OURS, INACTIVE], ids=["ours", "somebody's"])
def test_kueue_gets_the_time_to_stop_it(workload: Workload) -> None:
    verdict = decide(held(workload, suspended=False))
    assert (verdict.decision, verdict.look_again) == (None, 5)


def test_during_a_pause_nothing_is_read() -> None:
    verdict = decide(replace(held(None, suspended=True), has_workload_read=False))
    assert (verdict.needs_workload, verdict.look_again) == (False, 20)


def test_once_it_is_read_it_is_not_asked_for_again() -> None:
    for workload in (None, ACTIVE, INACTIVE, OURS):
        for suspended in (True, False):
            for over in (True, False):
                assert not decide(held(workload, suspended=suspended, over=over)).needs_workload


# -- the attempt -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize("suspended", [True, False])
def test_a_template_that_kueue_put_back_gets_its_attempt_again_before_anything_else(suspended: bool) -> None:
    back = job(queue="gpu", attempt=1, newest_attempt=3, is_suspended=suspended)
    found = decision(seen(job=back, ends=(failed(),), state=State(release=Release(NOW - 1, "x"))))
    assert (found.reason, found.deed) == ("AttemptRestored", Restore(3))
    assert decide(seen(job=replace(back, attempt=3))).decision is None


def test_nobody_else_puts_templates_back() -> None:
    assert decide(seen(job=job(attempt=1, newest_attempt=3))).decision is None


def test_the_newest_attempt_is_the_jobs_own_annotation() -> None:
    for text, number in (("3", 3), ("x", 0), ("", 0)):
        _, document = render(job_file(scheduling={"queue": "gpu"}))
        document["metadata"] |= {"uid": "j", "resourceVersion": "9"}
        document["metadata"]["annotations"][ANNOTATION_ATTEMPT] = text
        page = json.dumps({"metadata": {"resourceVersion": "7"}, "items": [document]}).encode()
        (found,) = project.jobs(odd).page(page).items
        assert (found.attempt, found.newest_attempt, found.queue) == (1, number, "gpu")


def test_a_change_of_a_workload_is_of_its_observed_version() -> None:
    assert patches.activity(ACTIVE, is_active=False, mark="5.0") == {
        "metadata": {"uid": "w-1", "resourceVersion": "7", "annotations": {ANNOTATION_PAUSE: "5.0"}},
        "spec": {"active": False},
    }


# -- all of it, with a Kueue -------------------------------------------------------------------------------------------
@dataclass(slots=True)
class Field:
    """Where it happens: one of the gang's two pods is taken by no node."""

    api: Ledger
    cluster: Cluster
    clock: Clock
    operator: Operator
    kueue: Kueue
    mind: Mind
    deaths: int = 0

    @property
    def job(self) -> Object:
        return self.api.job("demo")

    @property
    def state(self) -> State:
        return state_of(self.job)

    @property
    def workload(self) -> Object:
        (found,) = self.api.all("workloads")
        return found

    def attempts(self) -> list[str]:
        return [it["metadata"]["annotations"][ANNOTATION_ATTEMPT] for it in self.api.pods("demo")]

    def go_on(self, seconds: float) -> None:
        """Everybody does what is to be done, every five seconds."""
        end = self.clock.now + seconds
        while self.clock.now < end:
            self.clock.now += 5
            self.look()
            self.kueue.step()
            self.operator.step()
            self.operator.step()

    def look(self) -> None:
        try:
            self.mind.look()
        except NotLeaderError:
            self.deaths += 1
            self.mind = Mind(self.cluster, self.clock)
            self.mind.look()

    def activity(self) -> list[bool]:
        """What controllers have wanted of the Workload, in order."""
        return [it["spec"]["active"] for it in self._patches("workloads/", ANNOTATION_PAUSE)]

    def wrote_suspend(self) -> bool:
        """Whether a controller has done by itself what is Kueue's to do."""
        return any("runPolicy" in it.get("spec", {}) for it in self._patches("pytorchjobs/", ANNOTATION_STATE))

    def _patches(self, path: str, annotation: str) -> Iterator[Object]:
        for request in self.api.requests:
            if request.method == "PATCH" and path in request.path:
                body = json.loads(request.body)
                if (body.get("metadata") or {}).get("annotations", {}).get(annotation):
                    yield body

    def readings(self) -> int:
        """Of the Workload, by controllers."""
        lists = (it.query.get("labelSelector", "") for it in self.api.requests if it.path.endswith("/workloads"))
        return sum(" in (" in selector for selector in lists)


@pytest.fixture
def here(tmp_path: Path) -> Iterator[Field]:
    clock = Clock()
    with Ledger(lambda: clock.now) as api:
        cluster, operator = api.connect(tmp_path), Operator(api)
        operator.add_nodes("node-0")
        operator.stuck.add("demo-worker-1")
        operator.submit("demo", scheduling={"queue": "gpu"})
        yield Field(api, cluster, clock, operator, Kueue(cluster, NAMESPACE), Mind(cluster, clock))


def release(here: Field) -> None:
    """Until its pods are gone."""
    here.go_on(130)
    assert (here.state.release is not None, is_suspended(here.job), here.attempts()) == (True, True, [])


WRITES: Final = 5  # of a controller: the pause, the Workload, the attempt, the Workload again, the end of the pause


@pytest.mark.parametrize("writes", [*range(WRITES), 1000], ids=lambda it: f"dies-{it}" if it < WRITES else "lives")
def test_a_gang_that_does_not_get_whole_leaves_and_comes_back_with_the_next_attempt(here: Field, writes: int) -> None:
    here.mind = Mind(here.cluster, here.clock, writes=writes)
    release(here)
    assert here.workload["spec"]["active"] is False
    here.operator.stuck.clear()
    here.go_on(100)
    assert (here.state.release, here.attempts()) == (None, ["2", "2"])
    assert here.activity() == [False, True]
    assert not here.wrote_suspend()
    assert here.api.events("demo") == Counter({"StartTimeout": 1, "AttemptRestored": 1, "Resumed": 1})
    assert here.deaths == (writes < WRITES)


def test_workloads_are_read_when_something_depends_on_them_and_not_else(here: Field) -> None:
    release(here)
    before = here.readings()
    assert before <= 3
    here.go_on(25)
    assert here.readings() == before


def test_whoever_resumes_it_meanwhile_is_obeyed(here: Field) -> None:
    release(here)
    resume(here.cluster, here.job)
    here.operator.stuck.clear()
    here.go_on(40)
    assert (here.state.release, here.attempts()) == (None, ["2", "2"])
    assert here.activity() == [False]
    assert here.api.events("demo")["ResumedByOthers"] == 1


def test_whoever_suspends_it_meanwhile_is_obeyed(here: Field) -> None:
    release(here)
    keep_suspended(here.cluster, here.job)
    here.go_on(200)
    assert (here.workload["spec"]["active"], here.attempts()) == (False, [])
    assert here.activity() == [False]


def test_an_eviction_by_kueue_itself_costs_no_attempt(here: Field) -> None:
    release(here)
    here.operator.stuck.clear()
    here.go_on(100)
    here.kueue.has_quota = False
    here.go_on(20)
    assert (here.attempts(), attempt_of(here.job)) == ([], 2)
    here.kueue.has_quota = True
    here.go_on(20)
    assert here.attempts() == ["2", "2"]
    assert here.activity() == [False, True]


def test_without_the_right_to_read_workloads_nothing_is_begun(here: Field) -> None:
    here.go_on(90)
    here.api.faults.forbidden.add(("GET", "workloads"))
    here.clock.now += 60
    with pytest.raises(ForbiddenError, match="workloads is forbidden"):
        here.look()
    assert (here.state, len(here.api.pods("demo"))) == (State(), 2)


def test_without_kueue_the_pause_is_the_jobs_own(here: Field, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(TABLES, "workloads")
    here.operator.step()
    here.operator.step()
    here.clock.now += 101
    here.look()
    assert (is_suspended(here.job), here.state.release is not None) == (True, True)
    here.clock.now += 60
    here.look()
    assert (is_suspended(here.job), here.state.release) == (False, None)
