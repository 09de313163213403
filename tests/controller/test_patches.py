"""Changes of a job's object: guarded by its version, and nothing else touched."""

from collections.abc import Mapping
from typing import Any

from ktrain.names import ANNOTATION_ATTEMPT, ANNOTATION_STATE, ENV_NUM_NODES
from ktrain.render import render
from ktrain_controller import patches
from ktrain_controller.state import State, read_state
from tests.controller.seen import NOW, job
from tests.render.test_render import job as job_file


def whole(**affinity: Any) -> dict[str, Any]:
    _, document = render(job_file(nodes={"min": 1, "max": 4}))
    if affinity:
        document["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]["affinity"] = affinity
    return document


def worker(change: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = change["spec"]["pytorchReplicaSpecs"]["Worker"]
    return found


def elsewhere(
    document: dict[str, Any], *, avoid: tuple[str, ...] = (), before: Mapping[str, float] | None = None
) -> dict[str, Any]:
    return patches.elsewhere(patches.next_attempt(job(), State()), document, avoid=avoid, before=before or {})


def terms(change: dict[str, Any]) -> list[Any]:
    affinity = worker(change)["template"]["spec"]["affinity"]
    found: list[Any] = affinity["nodeAffinity"]["preferredDuringSchedulingIgnoredDuringExecution"]
    return found


def test_every_change_is_of_the_observed_version_of_the_observed_object() -> None:
    for change in (patches.remember(job(), State()), patches.suspended(job(), State(), suspend=False)):
        assert (change["metadata"]["uid"], change["metadata"]["resourceVersion"]) == ("job-1", "10")
        assert read_state(change["metadata"]["annotations"][ANNOTATION_STATE]) == State()


def test_a_restart_raises_the_attempt_of_the_job_and_of_its_future_pods() -> None:
    change = patches.next_attempt(job(attempt=3), State())
    assert change["metadata"]["annotations"][ANNOTATION_ATTEMPT] == "4"
    assert worker(change) == {"template": {"metadata": {"annotations": {ANNOTATION_ATTEMPT: "4"}}}}


def test_pods_that_come_after_a_pause_are_of_the_next_attempt() -> None:
    held, free = (patches.suspended(job(), State(), suspend=it) for it in (True, False))
    assert held["spec"]["runPolicy"] == {"suspend": True}
    assert held["metadata"]["annotations"][ANNOTATION_ATTEMPT] == "2"
    assert free["spec"] == {"runPolicy": {"suspend": False}}
    assert ANNOTATION_ATTEMPT not in free["metadata"]["annotations"]


def test_another_number_of_nodes_is_told_to_the_launchers_too() -> None:
    change = worker(patches.of_size(job(), State(), whole(), 3))
    (container,) = change["template"]["spec"]["containers"]
    assert change["replicas"] == 3
    assert [it["value"] for it in container["env"] if it["name"] == ENV_NUM_NODES] == ["3"]
    assert container["image"] == "registry.example/worker:1"


def test_nodes_are_avoided_by_a_wish_beside_the_users_own() -> None:
    mine = {"weight": 1, "preference": {"matchExpressions": [{"key": "gpu", "operator": "Exists"}]}}
    old = {
        "weight": 100,
        "preference": {"matchExpressions": [{"key": patches.HOST, "operator": "NotIn", "values": ["x"]}]},
    }
    document = whole(nodeAffinity={"preferredDuringSchedulingIgnoredDuringExecution": [mine, old]})
    first, second = terms(elsewhere(document, avoid=("a", "b"), before={"x": NOW}))
    assert first == mine
    assert second["preference"]["matchExpressions"] == [
        {"key": patches.HOST, "operator": "NotIn", "values": ["a", "b"]}
    ]


def test_a_wish_that_has_expired_is_taken_back() -> None:
    old = {
        "weight": 100,
        "preference": {"matchExpressions": [{"key": patches.HOST, "operator": "NotIn", "values": ["x"]}]},
    }
    document = whole(nodeAffinity={"preferredDuringSchedulingIgnoredDuringExecution": [old]})
    assert terms(elsewhere(document, before={"x": NOW})) == []


def test_a_job_without_a_wish_gets_no_affinity() -> None:
    assert "spec" not in worker(elsewhere(whole()))["template"]
