"""One look at one job, on a fake API server: what is carried out, what is told, and what a dry run leaves alone."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pytest

from ktrain.cluster import Cluster
from ktrain_controller.act import NotLeaderError
from ktrain_controller.state import Incident, State
from tests.controller.fake_objects import Object
from tests.controller.mind import Clock, Mind
from tests.controller.operator import NAMESPACE, Ledger, Operator

DAYS: Final = 86_400.0


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def api(clock: Clock) -> Iterator[Ledger]:
    with Ledger(clock) as made:
        yield made


@pytest.fixture
def cluster(api: Ledger, tmp_path: Path) -> Cluster:
    return api.connect(tmp_path)


@pytest.fixture
def operator(api: Ledger) -> Operator:
    made = Operator(api)
    made.add_nodes("node-0", "node-1")
    return made


def end(api: Ledger, phase: str = "Succeeded") -> None:
    now = datetime.fromtimestamp(api.clock(), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    ended = {"type": phase, "status": "True", "lastTransitionTime": now}
    head = {"namespace": NAMESPACE, "name": "demo"}
    api.put("pytorchjobs", {"metadata": head, "status": {"conditions": [ended], "completionTime": now}})


def train(api: Ledger, operator: Operator, **spec: Any) -> None:
    operator.submit("demo", **spec)
    for _ in range(3):
        operator.step()
    assert [it["status"]["phase"] for it in api.pods("demo")] == ["Running", "Running"]


def messages(api: Ledger) -> list[str]:
    return [it["message"] for it in api.all("events")]


# -- time to live ------------------------------------------------------------------------------------------------------
def expired(api: Ledger, operator: Operator, clock: Clock) -> None:
    operator.submit("demo", ttl="1d")
    end(api)
    clock.now += 2 * DAYS


def test_whose_time_to_live_is_over_is_told_before_it_goes(
    api: Ledger, cluster: Cluster, operator: Operator, clock: Clock
) -> None:
    expired(api, operator, clock)
    mind = Mind(cluster, clock)
    mind.look()
    assert api.all("pytorchjobs") == []
    assert api.events("demo") == {"Expired": 1}
    (event,) = api.all("events")
    assert event["type"] == "Normal"
    assert "its run stays in storage" in event["message"]
    counted = mind.metrics.registry.get_sample_value(
        "ktrain_controller_decisions_total", {"policy": "ttl", "deed": "remove"}
    )
    assert counted == 1


def test_whoever_died_between_telling_and_removing_is_finished_without_a_second_word(
    api: Ledger, cluster: Cluster, operator: Operator, clock: Clock
) -> None:
    expired(api, operator, clock)
    with pytest.raises(NotLeaderError):
        Mind(cluster, clock, writes=1).look()
    assert (len(api.all("pytorchjobs")), api.events("demo")) == (1, {"Expired": 1})
    clock.now += 10
    Mind(cluster, clock).look()
    assert (len(api.all("pytorchjobs")), api.events("demo")) == (0, {"Expired": 1})


def test_a_job_is_not_removed_untold(api: Ledger, cluster: Cluster, operator: Operator, clock: Clock) -> None:
    expired(api, operator, clock)
    mind = Mind(cluster, clock)
    mind.know()
    api.refuse(1, 500)
    assert mind.look_at_what_is_known() is not None
    assert (len(api.all("pytorchjobs")), api.events("demo")) == (1, {})


def test_a_job_that_somebody_has_changed_meanwhile_is_looked_at_again_before_it_is_removed(
    api: Ledger, cluster: Cluster, operator: Operator, clock: Clock
) -> None:
    expired(api, operator, clock)
    mind = Mind(cluster, clock)
    mind.know()
    change(api, {"metadata": {"annotations": {"research/note": "keep it"}}})
    mind.look_at_what_is_known()
    assert len(api.all("pytorchjobs")) == 1


def test_jobs_that_expire_take_nothing_of_what_may_be_interrupted(
    api: Ledger, cluster: Cluster, operator: Operator, clock: Clock
) -> None:
    expired(api, operator, clock)
    Mind(cluster, clock, allowance=0).look()
    assert api.all("pytorchjobs") == []


# -- what may be done --------------------------------------------------------------------------------------------------
def change(api: Ledger, document: Object) -> None:
    head = {"namespace": NAMESPACE, "name": "demo"}
    api.put("pytorchjobs", document | {"metadata": document["metadata"] | head})


def test_an_interruption_that_was_refused_takes_nothing_of_the_minutes(
    api: Ledger, cluster: Cluster, operator: Operator, clock: Clock
) -> None:
    """A cache that is behind would spend all of it on jobs that nothing has happened to."""
    train(api, operator, restart={"max": 0})
    mind = Mind(cluster, clock, allowance=1)
    operator.fail("demo-worker-0", 139)
    mind.know()
    change(api, {"metadata": {"annotations": {"research/note": "x"}}})
    mind.look_at_what_is_known()
    assert api.job("demo")["status"]["conditions"][-1]["type"] == "Running"
    mind.look()
    assert api.job("demo")["status"]["conditions"][-1]["type"] == "Failed"


def test_who_leads_no_more_tells_nothing(api: Ledger, cluster: Cluster, operator: Operator, clock: Clock) -> None:
    train(api, operator)
    change(api, {"metadata": {"annotations": {"ktrain.dev/state": "{"}}})
    with pytest.raises(NotLeaderError):
        Mind(cluster, clock, writes=0).look()
    assert api.all("events") == []


# -- a dry run ---------------------------------------------------------------------------------------------------------
def test_a_dry_run_tells_what_it_would_do_once_and_changes_nothing(
    api: Ledger, cluster: Cluster, operator: Operator, clock: Clock
) -> None:
    train(api, operator, restart={"max": 0})
    mind = Mind(cluster, clock, is_dry=True)
    mind.know()
    operator.fail("demo-worker-0", 139)
    mind.look()
    mind.look()
    (told,) = messages(api)
    assert told.startswith("dry run: would have acted: gave up after 1 failure ")
    assert {(it.method, it.plural) for it in api.writes} == {("POST", "events")}


def test_a_dry_run_goes_on_after_what_it_would_only_have_written_down(
    api: Ledger, cluster: Cluster, operator: Operator, clock: Clock
) -> None:
    """The first start of a job with a deadline is remembered before anything else is decided about it."""
    train(api, operator, deadline="1d")
    clock.now += 2 * DAYS
    mind = Mind(cluster, clock, is_dry=True)
    mind.look()
    assert api.events("demo") == {"DeadlineSet": 1, "DeadlineExceeded": 1}
    assert api.job("demo")["status"]["conditions"][-1]["type"] == "Running"


def test_a_dry_run_removes_no_job(api: Ledger, cluster: Cluster, operator: Operator, clock: Clock) -> None:
    expired(api, operator, clock)
    Mind(cluster, clock, is_dry=True).look()
    assert len(api.all("pytorchjobs")) == 1
    assert messages(api)[0].startswith("dry run: ")


# -- the same name again -----------------------------------------------------------------------------------------------
def test_a_job_that_is_submitted_anew_does_not_pay_for_the_one_before(
    api: Ledger, cluster: Cluster, operator: Operator, clock: Clock
) -> None:
    """Whoever leads next has watched both, and has looked at neither."""
    train(api, operator, restart={"max": 0})
    mind = Mind(cluster, clock)
    mind.know()
    operator.fail("demo-worker-0", 139)
    mind.know()
    for name in ("demo-worker-0", "demo-worker-1"):
        api.remove("pods", NAMESPACE, name)
    api.remove("pytorchjobs", NAMESPACE, "demo")
    train(api, operator, restart={"max": 0})
    mind.look()
    assert api.job("demo")["status"]["conditions"][-1]["type"] == "Running"


# -- nodes that broke --------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(("left", "avoided"), [(600, ["node-8"]), (-1, [])], ids=["lately", "long ago"])
def test_what_comes_after_a_pause_avoids_what_broke_lately(
    api: Ledger, cluster: Cluster, operator: Operator, clock: Clock, left: float, avoided: list[str]
) -> None:
    before = Incident(clock.now - 100, is_charged=True, what="boom")
    train(api, operator, state=State(incidents=(before,), avoid={"node-8": clock.now + left}))
    mind = Mind(cluster, clock)
    mind.know()
    operator.fail("demo-worker-0", 139)
    mind.look()
    spec = api.job("demo")["spec"]
    assert spec["runPolicy"]["suspend"]
    wishes = spec["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]["affinity"]["nodeAffinity"]
    (terms,) = wishes.values()
    assert [each for it in terms for each in it["preference"]["matchExpressions"][0]["values"]] == avoided


# -- how long it takes -------------------------------------------------------------------------------------------------
def test_it_is_measured_how_long_after_its_end_a_pod_is_decided_about(
    api: Ledger, cluster: Cluster, operator: Operator, clock: Clock
) -> None:
    train(api, operator)
    mind = Mind(cluster, clock)
    mind.know()
    operator.fail("demo-worker-0", 139)
    clock.now += 3
    mind.look()
    name = "ktrain_controller_fault_detection_seconds"
    told = [mind.metrics.registry.get_sample_value(f"{name}_{what}") for what in ("count", "sum")]
    assert told == [1, 3]
