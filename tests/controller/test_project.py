"""The API's JSON as the model has it; what cannot be read is left out and told."""

import json
from typing import Any

import pytest

from ktrain.render import render
from ktrain_controller.model import Exit
from ktrain_controller.project import Event, Projection, jobs, nodes, pods, when
from ktrain_controller.reading import read
from tests.render.test_render import job as job_file

LAUNCHER = {"cause": "crash", "code": 139, "rank": 3, "step": 12, "checkpoint": 10, "message": "boom"}


def odd(_why: str) -> None:
    raise AssertionError(_why)


def page(items: list[Any]) -> bytes:
    return json.dumps({"metadata": {"resourceVersion": "7", "continue": "more"}, "items": items}).encode()


def pod(**status: Any) -> dict[str, Any]:
    labels = {"training.kubeflow.org/job-name": "demo", "training.kubeflow.org/replica-index": "1"}
    return {
        "metadata": {
            "name": "demo-worker-1", "namespace": "research", "uid": "u", "resourceVersion": "5", "labels": labels,
            "annotations": {"ktrain.dev/attempt": "3"}, "creationTimestamp": "2026-11-21T10:00:00Z",
        },
        "spec": {"nodeName": "n1", "containers": [{"ports": [{"name": "metrics", "containerPort": 9400}]}]},
        "status": {"phase": "Running", "podIP": "10.0.0.5", **status},
    }  # fmt: skip


def only(document: dict[str, Any], projection: Projection[Any] | None = None) -> Any:
    (found,) = (projection or pods(odd)).page(page([document])).items
    return found


def test_a_page_has_its_items_its_version_and_the_next_page() -> None:
    found = pods(odd).page(page([pod(), pod()]))
    assert (len(found.items), found.version, found.token) == (2, "7", "more")


def test_a_running_pod() -> None:
    found = only(pod())
    assert (found.key, found.owner, found.index, found.attempt) == ("research/demo-worker-1", "research/demo", 1, 3)
    assert (found.node, found.ip, found.port, found.is_up) == ("n1", "10.0.0.5", 9400, True)
    assert found.created == when("2026-11-21T10:00:00Z")


def test_a_failed_pod_brings_its_launchers_words() -> None:
    ended = {"exitCode": 139, "reason": "Error", "message": json.dumps(LAUNCHER), "finishedAt": "2026-11-21T10:00:09Z"}
    found = only(pod(phase="Failed", containerStatuses=[{"state": {"terminated": ended}}]))
    at = when("2026-11-21T10:00:09Z")
    assert found.exit == Exit(139, "Error", at, cause="crash", message="boom", rank=3, step=12, checkpoint=10)


@pytest.mark.parametrize("message", ["Killed", "{", '{"rank": "x"}', "[1]", "{" * 5000, ""])
def test_a_termination_message_may_be_anything(message: str) -> None:
    ended = {"exitCode": 137, "reason": "OOMKilled", "message": message}
    found = only(pod(phase="Failed", containerStatuses=[{"state": {"terminated": ended}}]))
    assert (found.exit.code, found.exit.rank, found.exit.at) == (137, None, None)


@pytest.mark.parametrize(
    ("status", "why", "is_misconfigured"),
    [
        ({"conditions": [{"type": "PodScheduled", "status": "False", "message": "0/2 nodes"}]}, "no node takes it: 0/2 nodes", False),
        ({"containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull", "message": "gone"}}}]}, "ErrImagePull: gone", True),
        ({"containerStatuses": [{"state": {"waiting": {"reason": "ContainerCreating"}}}]}, "ContainerCreating", False),
        ({}, "", False),
    ],
    ids=["unschedulable", "image", "creating", "nothing said"],
)  # fmt: skip
def test_why_a_pod_waits(status: dict[str, Any], why: str, is_misconfigured: bool) -> None:
    found = only(pod(phase="Pending", **status))
    assert (found.waiting, found.is_misconfigured) == (why, is_misconfigured)


def test_when_a_pod_was_deleted_and_when_it_has_to_be_gone() -> None:
    document = pod()
    document["metadata"] |= {"deletionTimestamp": "2026-11-21T10:00:35Z", "deletionGracePeriodSeconds": 35}
    found = only(document)
    assert (found.deleting - found.deleted, found.deleted, found.is_up) == (35, when("2026-11-21T10:00:00Z"), False)


@pytest.mark.parametrize(
    ("amount", "gpus"), [("8", 8), (8, 8), ("1k", 0), ("many", 0)], ids=["text", "number", "suffix", "word"]
)
def test_an_amount_of_gpus_that_is_none_does_not_lose_the_job(amount: str | int, gpus: int) -> None:
    _, document = render(job_file())
    document["metadata"] |= {"uid": "u", "resourceVersion": "5", "creationTimestamp": "2026-11-21T10:00:00Z"}
    containers = document["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]["containers"]
    containers[0]["resources"] = {"limits": {"nvidia.com/gpu": amount}}
    assert only(document, jobs(odd)).gpus == gpus


def test_a_job_as_render_makes_it() -> None:
    _, document = render(job_file(nodes=3, ttl="1d"), attempt=4)
    document["metadata"] |= {"uid": "j", "resourceVersion": "9"}
    found = only(document, jobs(odd))
    assert (found.key, found.attempt, found.replicas, found.phase, found.has_ended) == (
        "research/demo", 4, 3, "Created", False,
    )  # fmt: skip
    reading = read(found)
    assert reading.problem is None
    assert reading.policy is not None
    assert reading.policy.ttl.days == 1


@pytest.mark.parametrize("attempt", ["soon", "-3", "1.5", "9" * 5000], ids=["word", "below zero", "half", "endless"])
def test_a_job_whose_attempt_is_none_is_known_told_of_and_left_alone(attempt: str) -> None:
    _, document = render(job_file())
    template = document["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]
    template["metadata"]["annotations"]["ktrain.dev/attempt"] = attempt
    reading = read(only(document, jobs(odd)))
    assert reading.policy is None
    assert reading.problem is not None
    assert reading.problem.reason == "JobUnreadable"
    assert attempt[:50] in reading.problem.message


def test_the_ending_condition_counts_wherever_it_stands() -> None:
    _, document = render(job_file())
    conditions = [
        {"type": "Created", "status": "True"},
        {"type": "Failed", "status": "True", "lastTransitionTime": "2026-11-21T10:00:00Z"},
        {"type": "Running", "status": "False"},
    ]
    document["status"] = {"conditions": conditions}
    found = only(document, jobs(odd))
    assert (found.phase, found.has_ended, found.ended) == ("Failed", True, when("2026-11-21T10:00:00Z"))


def test_a_node_and_the_taint_that_announces_its_end() -> None:
    ready = {"type": "Ready", "status": "Unknown", "lastTransitionTime": "2026-11-21T10:00:00Z"}
    document = {
        "metadata": {"name": "n1"},
        "spec": {"taints": [{"key": "other"}, {"key": "karpenter.sh/disrupted"}]},
        "status": {"conditions": [ready]},
    }
    found = only(document, nodes(odd))
    assert (found.is_ready, found.notice) == (False, "karpenter.sh/disrupted")


def test_an_object_that_cannot_be_read_is_left_out_and_told() -> None:
    told: list[str] = []
    bad = pod()
    bad["metadata"]["annotations"]["ktrain.dev/attempt"] = "soon"
    found = pods(told.append).page(page([bad, pod()]))
    assert (len(found.items), len(told)) == (1, 1)


def test_events_of_a_watch() -> None:
    projection = pods(odd)
    line = json.dumps({"type": "MODIFIED", "object": pod()}).encode()
    assert projection.event(line).item == only(pod())
    bookmark = b'{"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": "99"}}}'
    assert projection.event(bookmark) == Event("BOOKMARK", "99")
    gone = b'{"type": "ERROR", "object": {"kind": "Status", "code": 410, "message": "too old"}}'
    assert projection.event(gone) == Event("ERROR", code=410, message="too old")


@pytest.mark.parametrize("line", [b"", b"{", b"[]", b'{"type": "ADDED"}', b"\xff", b'{"type": 5, "object": {}}'])
def test_a_line_that_is_no_event_is_an_error(line: bytes) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        pods(odd).event(line)
