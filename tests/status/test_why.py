"""Why a job does not run, from objects as a real cluster gives them (tests/cluster has the real ones)."""

import json
from typing import Any

import pytest

from ktrain.names import ANNOTATION_POLICY
from ktrain.picture import Picture
from ktrain.status.observe import Facts
from ktrain.status.why import state

Object = dict[str, Any]


def job(*conditions: str, suspend: bool = False, replicas: int = 1) -> Object:
    return {
        "metadata": {},
        "spec": {"runPolicy": {"suspend": suspend}, "pytorchReplicaSpecs": {"Worker": {"replicas": replicas}}},
        "status": {"conditions": [{"type": it, "status": "True", "message": f"job is {it}"} for it in conditions]},
    }


def pod(phase: str, *, node: str = "node1", **status: Any) -> Object:
    meta = {"name": "demo-worker-0", "uid": "u", "labels": {"training.kubeflow.org/replica-index": "0"}}
    return {"metadata": meta, "spec": {"nodeName": node}, "status": {"phase": phase, **status}}


def waiting(reason: str, message: str) -> list[Object]:
    return [{"image": "worker:1", "state": {"waiting": {"reason": reason, "message": message}}}]


def ended(code: int, message: str, reason: str = "Error") -> list[Object]:
    return [{"state": {"terminated": {"exitCode": code, "message": message, "reason": reason}}}]


def facts(
    job: Object, *pods: Object, events: tuple[Object, ...] = (), lost: str = "", picture: Picture | None = None
) -> Facts:
    return Facts(job, pods, events, frozenset({lost} - {""}), picture or Picture())


SAID = json.dumps({"cause": "user", "rank": 1, "message": "ValueError: no"})
UNSCHEDULABLE = [{"type": "PodScheduled", "status": "False", "message": "0/2 nodes are available"}]
REFUSED = {"reason": "FailedCreatePod", "message": "Error creating: pods is forbidden: exceeded quota: small"}
NO_VOLUME = {"reason": "FailedMount", "message": "secret not found", "involvedObject": {"uid": "u"}}
WAITING = Picture(("rendezvous",), notes=("DNS does not know demo-worker-0",))
STEPPING = Picture(("running",), ({"rank": 0, "step": 7},))


@pytest.mark.parametrize(
    ("observed", "what", "why"),
    [
        (facts(job("Succeeded"), pod("Succeeded")), "succeeded", ""),
        (facts(job("Failed"), pod("Failed", containerStatuses=ended(70, SAID))), "failed", "user (exit 70) on rank 1: ValueError: no"),
        (facts(job("Failed"), pod("Failed", containerStatuses=ended(137, "", "OOMKilled"))), "failed", "OOMKilled (exit 137)"),
        (facts(job("Failed")), "failed", "job is Failed"),
        (facts(job("Running"), pod("Running"), picture=WAITING), "rendezvous", "DNS does not know demo-worker-0"),
        (facts(job("Suspended", suspend=True)), "suspended", "its run is kept (spec.runPolicy.suspend)"),
        (facts(job("Created"), events=(REFUSED,)), "pending", "pods are refused: Error creating: pods is forbidden: exceeded quota: small"),
        (facts(job("Created", replicas=3), pod("Running")), "pending", "1 of 3 pods are there"),
        (facts(job("Running"), pod("Pending", conditions=UNSCHEDULABLE)), "pending", "no node takes it: 0/2 nodes are available"),
        (facts(job("Running"), pod("Pending", containerStatuses=waiting("ErrImagePull", "not found"))), "pending", "worker:1 cannot be pulled (ErrImagePull): not found"),
        (facts(job("Running"), pod("Pending", containerStatuses=waiting("CreateContainerConfigError", "no secret"))), "pending", "no secret"),
        (facts(job("Running"), pod("Pending"), events=(NO_VOLUME,)), "pending", "a volume is not there: secret not found"),
        (facts(job("Running"), pod("Running"), lost="node1"), "lost", "node node1 does not answer"),
        (facts(job("Running"), pod("Running"), picture=STEPPING), "training", ""),
        (facts(job("Running"), pod("Running"), picture=Picture(("rendezvous",))), "rendezvous", ""),
        (facts(job("Running"), pod("Running")), "starting", ""),
    ],
    ids=["done", "user", "oom", "failed", "dns", "suspended", "quota", "few", "unschedulable", "image", "secret", "volume", "lost", "training", "rendezvous", "starting"],
)  # fmt: skip
def test_the_first_thing_in_the_way_is_the_reason(observed: Facts, what: str, why: str) -> None:
    found = state(observed)
    assert found.what == what
    assert found.why.endswith(why) or why in found.why
    assert bool(found.why) == bool(why)


ELASTIC = {ANNOTATION_POLICY: json.dumps({"nodes": {"min": 1, "max": 2}})}


@pytest.mark.parametrize(
    ("pods", "picture", "what", "why"),
    [
        ((pod("Running"), pod("Pending", conditions=UNSCHEDULABLE)), STEPPING, "training", "without demo-worker-0: no node takes it"),
        ((pod("Running"),), STEPPING, "training", "1 of 2 pods are there"),
        ((pod("Running"), pod("Running")), Picture(("running", "rendezvous"), ({"rank": 0, "step": 7},), notes=("the others train",)), "training", "the others train"),
        ((pod("Running"), pod("Running")), STEPPING, "training", ""),
        ((pod("Running"), pod("Pending", conditions=UNSCHEDULABLE)), Picture(("rendezvous",)), "pending", "demo-worker-0: no node takes it"),
    ],
    ids=["unschedulable", "not made", "joins", "all", "too few"],
)  # fmt: skip
def test_an_elastic_job_trains_without_some_of_its_pods(
    pods: tuple[Object, ...], picture: Picture, what: str, why: str
) -> None:
    made = job("Running", replicas=2)
    made["metadata"]["annotations"] = ELASTIC
    found = state(facts(made, *pods, picture=picture))
    assert found.what == what
    assert found.why.startswith(why)
    assert bool(found.why) == bool(why)
