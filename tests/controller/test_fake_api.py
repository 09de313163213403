"""The fake API server answers as the real one does, and the client makes errors of its refusals."""

import json
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pytest

from ktrain.cluster import JOB, NODE, POD, SECRET, Cluster, Kind
from ktrain.errors import BusyError, ClusterError, ExpiredError, MissingError, NoKindError, TakenError, UnreachableError
from tests.controller.fake_api import FakeApi
from tests.controller.fake_objects import Object

LEASE = Kind("coordination.k8s.io/v1", "leases", "Lease")


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi() as api:
        yield api


@pytest.fixture
def cluster(api: FakeApi, tmp_path: Path) -> Cluster:
    return api.connect(tmp_path)


def thing(name: str, **more: Any) -> Object:
    return {"metadata": {"namespace": "ml", "name": name, **more.pop("meta", {})}, **more}


def running(name: str) -> Object:
    return thing(name, spec={"nodeName": "n1"}, status={"phase": "Running"})


def watched(cluster: Cluster, kind: Kind, version: str, *, labels: str = "", silence: float = 5) -> Iterator[Any]:
    lines = cluster.watch(kind, "ml", labels=labels, version=version, seconds=1, silence=silence)
    return (json.loads(line) for line in lines)


def told(events: Iterator[Any], number: int) -> list[tuple[str, str]]:
    return [(it["type"], it["object"]["metadata"]["name"]) for it in islice(events, number)]


def version(api: FakeApi) -> str:
    return str(api.objects.version)


def test_an_object_is_created_read_patched_and_deleted(cluster: Cluster) -> None:
    made = cluster.create(JOB, thing("a", spec={"x": 1, "y": 2}))
    assert made["kind"] == "PyTorchJob"
    cluster.patch(JOB, "ml", "a", {"spec": {"x": None, "z": {"w": 3}}})
    assert cluster.get(JOB, "ml", "a")["spec"] == {"y": 2, "z": {"w": 3}}
    cluster.delete(JOB, "ml", "a")
    with pytest.raises(MissingError):
        cluster.get(JOB, "ml", "a")


def test_a_name_can_be_taken_once(cluster: Cluster) -> None:
    cluster.create(LEASE, thing("leader"))
    with pytest.raises(TakenError):
        cluster.create(LEASE, thing("leader"))


def test_an_unknown_kind_is_not_a_missing_object(cluster: Cluster) -> None:
    with pytest.raises(NoKindError):
        cluster.page(SECRET, "ml")


@pytest.mark.parametrize("stale", [{"resourceVersion": "1"}, {"uid": "another"}], ids=["version", "uid"])
def test_a_patch_of_another_version_is_refused(stale: Object, cluster: Cluster) -> None:
    made = cluster.create(LEASE, thing("leader", spec={"holder": "a"}))["metadata"]
    fresh = {key: made[key] for key in stale}
    with pytest.raises(TakenError):
        cluster.patch(LEASE, "ml", "leader", {"metadata": stale, "spec": {"holder": "b"}})
    patched = cluster.patch(LEASE, "ml", "leader", {"metadata": fresh, "spec": {"holder": "b"}})
    assert patched["spec"] == {"holder": "b"}
    assert int(patched["metadata"]["resourceVersion"]) > int(made["resourceVersion"])


def test_a_patch_that_changes_nothing_makes_no_version(cluster: Cluster) -> None:
    made = cluster.create(LEASE, thing("leader", spec={"holder": "a"}))
    assert cluster.patch(LEASE, "ml", "leader", {"spec": {"holder": "a"}}) == made


def test_status_and_the_rest_are_written_apart(cluster: Cluster) -> None:
    cluster.create(JOB, thing("a", spec={"x": 1}, status={"x": 1}))
    cluster.patch(JOB, "ml", "a", {"spec": {"x": 2}, "status": {"x": 2}}, sub="status")
    assert (cluster.get(JOB, "ml", "a")["spec"], cluster.get(JOB, "ml", "a")["status"]) == ({"x": 1}, {"x": 2})
    cluster.patch(JOB, "ml", "a", {"spec": {"x": 3}, "status": {"x": 3}})
    assert (cluster.get(JOB, "ml", "a")["spec"], cluster.get(JOB, "ml", "a")["status"]) == ({"x": 3}, {"x": 2})


def test_a_running_pod_is_deleted_gracefully_and_by_uid(api: FakeApi, cluster: Cluster) -> None:
    uid = api.put("pods", running("a"))["metadata"]["uid"]
    with pytest.raises(TakenError):
        cluster.delete(POD, "ml", "a", uid="another")
    cluster.delete(POD, "ml", "a", uid=uid, grace=5)
    assert cluster.get(POD, "ml", "a")["metadata"]["deletionGracePeriodSeconds"] == 5
    cluster.delete(POD, "ml", "a", uid=uid, grace=0)
    assert cluster.find(POD, "ml", "a") is None


def test_a_pod_without_a_node_has_no_grace(cluster: Cluster) -> None:
    cluster.create(POD, thing("a"))
    cluster.delete(POD, "ml", "a")
    assert cluster.find(POD, "ml", "a") is None


def test_all_pages_are_of_the_moment_of_the_first(api: FakeApi, cluster: Cluster) -> None:
    api.load("pods", [thing(f"a-{number}") for number in range(5)])
    first = json.loads(cluster.page(POD, limit=3))
    api.remove("pods", "ml", "a-4")
    second = json.loads(cluster.page(POD, limit=3, token=first["metadata"]["continue"]))
    assert [it["metadata"]["name"] for it in first["items"] + second["items"]] == [f"a-{each}" for each in range(5)]
    assert "continue" not in second["metadata"]
    assert first["metadata"]["resourceVersion"] == second["metadata"]["resourceVersion"]


def test_a_token_expires(api: FakeApi, cluster: Cluster) -> None:
    api.load("pods", [thing("a"), thing("b")])
    token = json.loads(cluster.page(POD, limit=1))["metadata"]["continue"]
    api.forget()
    with pytest.raises(ExpiredError):
        cluster.page(POD, limit=1, token=token)


def test_a_list_is_of_one_namespace_and_of_the_labels(api: FakeApi, cluster: Cluster) -> None:
    api.load("pods", [thing("a", meta={"labels": {"x": "1", "y": "2"}}), thing("b", meta={"labels": {"x": "1"}})])
    api.put("pods", {"metadata": {"namespace": "other", "name": "c", "labels": {"x": "1"}}})
    assert [it["metadata"]["name"] for it in cluster.list(POD, "ml", labels="x=1")] == ["a", "b"]
    assert [it["metadata"]["name"] for it in cluster.list(POD, labels="x=1,y=2")] == ["a"]
    assert len(list(cluster.list(POD))) == 3


def test_a_watch_goes_on_from_its_version(api: FakeApi, cluster: Cluster) -> None:
    api.put("pods", thing("before"))
    since = version(api)
    api.put("pods", thing("a"))
    api.put("nodes", {"metadata": {"name": "n1"}})
    events = watched(cluster, POD, since)
    assert told(events, 1) == [("ADDED", "a")]
    api.put("pods", thing("a", spec={"nodeName": "n1"}))
    api.remove("pods", "ml", "a")
    assert told(events, 2) == [("MODIFIED", "a"), ("DELETED", "a")]


def test_an_object_that_loses_its_label_is_deleted_for_who_selects_by_it(api: FakeApi, cluster: Cluster) -> None:
    since = version(api)
    for labels in ({"x": "1"}, {"x": "2"}, {"x": "1"}):
        api.put("pods", thing("a", meta={"labels": labels}))
    events = watched(cluster, POD, since, labels="x=1")
    assert told(events, 3) == [("ADDED", "a"), ("DELETED", "a"), ("ADDED", "a")]


def test_a_watch_ends_in_time_with_a_bookmark(api: FakeApi, cluster: Cluster) -> None:
    (event,) = watched(cluster, POD, version(api))
    assert (event["type"], event["object"]["metadata"]["resourceVersion"]) == ("BOOKMARK", version(api))


def test_a_version_that_is_forgotten_is_an_event_in_the_stream(api: FakeApi, cluster: Cluster) -> None:
    since = version(api)
    api.put("pods", thing("a"))
    api.forget()
    (event,) = watched(cluster, POD, since)
    assert (event["type"], event["object"]["code"]) == ("ERROR", 410)
    assert told(watched(cluster, POD, version(api)), 0) == []


def test_a_version_that_is_forgotten_can_be_an_answer_too(api: FakeApi, cluster: Cluster) -> None:
    since = version(api)
    api.put("pods", thing("a"))
    api.forget()
    api.faults.expires_by_status = True
    with pytest.raises(ExpiredError, match="no longer remembers that version: too old resource version"):
        next(watched(cluster, POD, since))


def test_compaction_does_not_hurt_a_watch_that_is_open(api: FakeApi, cluster: Cluster) -> None:
    events = watched(cluster, POD, version(api))
    api.put("pods", thing("a"))
    assert told(events, 1) == [("ADDED", "a")]
    with api.together():
        api.put("pods", thing("b"))
        api.forget()
    assert told(events, 1) == [("ADDED", "b")]


@pytest.mark.parametrize(
    ("after", "seconds"),
    [("0", 0), ("7", 7), ("86400", 60), ("Fri, 21 Nov 2036 11:00:00 GMT", 1)],
    ids=["now", "soon", "tomorrow", "date"],
)
@pytest.mark.parametrize("code", [429, 503])
def test_a_busy_server_says_for_how_long(code: int, after: str, seconds: float, api: FakeApi, cluster: Cluster) -> None:
    api.refuse(1, code, after)
    with pytest.raises(BusyError, match=f"the cluster is busy: the test says so; try again in {seconds} s") as caught:
        cluster.page(POD)
    assert caught.value.after == seconds


def test_a_busy_server_is_asked_again_for_a_user(api: FakeApi, tmp_path: Path) -> None:
    patient = api.connect(tmp_path, retries=2)
    api.refuse(2, 429, "0")
    assert list(patient.list(POD)) == []
    api.refuse(3, 429, "0")
    with pytest.raises(BusyError):
        list(patient.list(POD))


def test_a_busy_server_that_does_not_say_for_how_long_is_an_error(api: FakeApi, cluster: Cluster) -> None:
    api.refuse(1, 503)
    with pytest.raises(ClusterError, match="answered 503"):
        cluster.page(POD)


def test_the_servers_time_is_its_own(api: FakeApi, cluster: Cluster) -> None:
    def off_by(seconds: float) -> float:
        assert cluster.server_time is not None
        return cluster.server_time - seconds

    assert cluster.server_time is None
    api.clock = lambda: 1_000_000_000.0
    cluster.page(POD)
    assert 0 <= off_by(1_000_000_000) < off_by(1_000_000_000) < 5
    api.clock = lambda: 900_000_000.0
    api.refuse(1, 500)
    with pytest.raises(ClusterError):
        cluster.page(POD)
    assert 0 <= off_by(900_000_000) < 5


def test_silence_is_noticed(api: FakeApi, cluster: Cluster) -> None:
    events = watched(cluster, POD, version(api), silence=0.1)
    api.faults.is_mute = True
    api.put("pods", thing("a"))
    with pytest.raises(UnreachableError, match="Read timed out"):
        next(events)


def test_a_watch_that_is_lost_delivers_nothing_more_and_the_next_one_everything(api: FakeApi, cluster: Cluster) -> None:
    since = version(api)
    lost = watched(cluster, POD, since, silence=0.1)
    api.lose_watches("pods")
    api.put("pods", thing("a"))
    with pytest.raises(UnreachableError, match="Read timed out"):
        next(lost)
    assert told(watched(cluster, POD, since), 1) == [("ADDED", "a")]


def test_a_storm_of_410_passes(api: FakeApi, cluster: Cluster) -> None:
    api.faults.expire = 2
    answers = [next(watched(cluster, POD, version(api))) for _ in range(3)]
    assert [it["type"] for it in answers] == ["ERROR", "ERROR", "BOOKMARK"]


def test_a_broken_stream_is_an_error_and_its_half_line_is_not_given(api: FakeApi, cluster: Cluster) -> None:
    since = version(api)
    api.put("pods", thing("a"))
    api.faults.truncate = "abrupt"
    with pytest.raises(UnreachableError, match="does not answer"):
        next(watched(cluster, POD, since))


def test_a_server_that_is_down_is_an_error_and_can_come_back(api: FakeApi, cluster: Cluster) -> None:
    api.put("nodes", {"metadata": {"name": "n1"}})
    api.close()
    with pytest.raises(UnreachableError):
        cluster.page(NODE)
    api.open()
    assert len(list(cluster.list(NODE))) == 1


def test_a_watch_that_is_left_early_does_not_spoil_the_next_request(api: FakeApi, cluster: Cluster) -> None:
    api.put("pods", thing("a"))
    for _ in range(20):
        lines = cluster.watch(POD, version="1", seconds=5)
        next(lines)
        lines.close()
        assert len(list(cluster.list(POD))) == 1


def test_requests_are_counted(api: FakeApi, cluster: Cluster) -> None:
    cluster.page(POD, "ml")
    cluster.create(LEASE, thing("leader"))
    list(watched(cluster, POD, version(api)))
    assert (api.count("GET"), api.count(path="/pods", is_watch=True), api.count("POST", path="leases")) == (2, 1, 1)
    assert api.requests[0].query == {"limit": "500"}
