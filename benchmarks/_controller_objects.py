"""What a large cluster holds: jobs as ktrain renders them, their pods as an operator and kubelets fill them in, nodes."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, Final

from ktrain import names
from ktrain.render import render
from ktrain.spec import TrainingJob

Object = dict[str, Any]
PODS_PER_JOB: Final = 5
NAMESPACES: Final = 10
QUEUED: Final = 10  # every tenth job is Kueue's: such a gang is restarted at once, the others pause first
PORT: Final = 39_417  # of launchers that do not exist: a closed port, so that all their silence is heard
OPERATOR: Final = "training.kubeflow.org/"


def when(at: float) -> str:
    """A timestamp of the API."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def team(number: int) -> str:
    """Whose it is; of a job its namespace, too."""
    return f"team-{number % NAMESPACES}"


def job(number: int, at: float) -> Object:
    """One that has been running since `at`."""
    spec = TrainingJob.model_validate(_job_file(number))
    _, document = render(spec)
    held = [("Created", "PyTorchJobCreated"), ("Running", "PyTorchJobRunning")]
    document["status"] = {
        "conditions": [
            {"type": kind, "status": "True", "reason": why, "message": f"PyTorchJob {spec.metadata.name} is {kind}.",
             "lastUpdateTime": when(at), "lastTransitionTime": when(at)}
            for kind, why in held
        ],
        "replicaStatuses": {"Worker": {"active": PODS_PER_JOB}},
        "startTime": when(at),
    }  # fmt: skip
    document["metadata"] |= {
        "creationTimestamp": when(at), "generation": 1,
        "managedFields": [_managed("ktrain", {"spec": document["spec"]}, at)],
    }  # fmt: skip
    return document


def pods(owner: Object, number: int, num_nodes: int, at: float) -> Iterator[Object]:
    """All of a job's, which run."""
    for index in range(PODS_PER_JOB):
        place = number * PODS_PER_JOB + index
        yield pod(owner, index, place % num_nodes, place, at) | {"status": status("Running", place, at)}


def pod(owner: Object, index: int, node: int, place: int, at: float) -> Object:
    """As the operator makes it and the scheduler binds it: pending."""
    meta = owner["metadata"]
    template = owner["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]
    labels = {
        **template["metadata"]["labels"], f"{OPERATOR}job-name": meta["name"], f"{OPERATOR}job-role": "worker",
        f"{OPERATOR}operator-name": "pytorchjob-controller", names.LABEL_REPLICA_INDEX: str(index),
        f"{OPERATOR}replica-type": "worker",
    }  # fmt: skip
    document = {
        "metadata": {
            "name": f"{meta['name']}-worker-{index}", "namespace": meta["namespace"],
            "creationTimestamp": when(at), "labels": labels, "annotations": template["metadata"]["annotations"],
            "ownerReferences": [
                {"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "name": meta["name"],
                 "uid": meta.get("uid", ""), "controller": True, "blockOwnerDeletion": True}
            ],
        },
        "spec": {**template["spec"], "nodeName": f"node-{node:04}", "schedulerName": "default-scheduler",
                 "restartPolicy": "Never", "hostname": f"{meta['name']}-worker-{index}", "priority": 0},
        "status": status("Pending", place, at),
    }  # fmt: skip
    document["metadata"]["managedFields"] = [
        _managed("training-operator", {"metadata": {"labels": labels}}, at),
        _managed("kubelet", {"status": status("Running", place, at)}, at),
    ]
    return document


def status(phase: str, place: int, at: float, *, exit_code: int | None = None, message: str = "") -> Object:
    """What its kubelet says."""
    is_up = phase == "Running"
    state: Object = {"waiting": {"reason": "ContainerCreating"}}
    if is_up:
        state = {"running": {"startedAt": when(at)}}
    if exit_code is not None:
        ended = {"exitCode": exit_code, "reason": "Error", "message": message, "finishedAt": when(at)}
        state = {"terminated": {**ended, "startedAt": when(at - 600), "containerID": f"containerd://{place:064x}"}}
    return {
        "phase": phase,
        "conditions": conditions(at, is_up=is_up),
        "hostIP": f"10.1.{place % 250}.{place // 250 % 250}",
        "podIP": f"127.{1 + place % 250}.{place // 250 % 250}.{1 + place // 62_500}",  # loopback, where nobody listens
        "startTime": when(at),
        "qosClass": "Burstable",
        "containerStatuses": [
            {"name": "pytorch", "ready": is_up, "started": is_up, "restartCount": 0, "state": state, "lastState": {},
             "image": "registry.example/ktrain-worker:0.1.0", "containerID": f"containerd://{place:064x}",
             "imageID": f"registry.example/ktrain-worker@sha256:{place:064x}"}
        ],
    }  # fmt: skip


def conditions(at: float, *, is_up: bool) -> list[Object]:
    """Of a pod; another time makes another text."""
    held = {
        "PodReadyToStartContainers": is_up, "Initialized": True, "Ready": is_up, "ContainersReady": is_up,
        "PodScheduled": True,
    }  # fmt: skip
    return [
        {"type": kind, "status": str(value), "lastProbeTime": f"{at:.6f}", "lastTransitionTime": when(at)}
        for kind, value in held.items()
    ]


def node(number: int, at: float) -> Object:
    """Ready."""
    kinds = ("MemoryPressure", "DiskPressure", "PIDPressure", "Ready")
    said = [
        {"type": kind, "status": str(kind == "Ready"), "reason": f"Kubelet{kind}", "message": f"kubelet says {kind}",
         "lastHeartbeatTime": when(at), "lastTransitionTime": when(at)}
        for kind in kinds
    ]  # fmt: skip
    room = {"cpu": "192", "memory": "2097152Mi", "nvidia.com/gpu": "8", "pods": "250"}
    images = [
        {"names": [f"registry.example/image-{each}@sha256:{each:064x}"], "sizeBytes": 10**9} for each in range(20)
    ]
    return {
        "metadata": {"name": f"node-{number:04}", "creationTimestamp": when(at), "labels": {"team": team(number)}},
        "spec": {"podCIDR": f"10.{number // 250}.{number % 250}.0/24", "providerID": f"cloud:///zone/i-{number:016x}"},
        "status": {"capacity": room, "allocatable": room, "conditions": said, "images": images},
    }


def _job_file(number: int) -> Object:
    return {
        "metadata": {"name": f"llm-{number:05}", "namespace": team(number), "labels": {"team": team(number)}},
        "spec": {
            "image": "registry.example/ktrain-worker:0.1.0", "nodes": PODS_PER_JOB, "procsPerNode": 1,
            "resources": {"cpu": 8, "memory": "64Gi", "nvidia.com/gpu": 1},
            "storage": {"url": "s3://bucket/runs", "secret": "s3-credentials"},
            "env": {"NCCL_DEBUG": "WARN"}, "metrics": {"port": PORT},
            "volumes": [{"name": "data", "mountPath": "/data", "claim": "data", "readOnly": True}],
            "scheduling": {"priorityClass": "high", **({} if number % QUEUED else {"queue": "gpu"})},
            "restart": {"max": 5 + number % 20},
            "trainer": {
                "duration": "10ep", "model": {"use": "m:Net"}, "data": {"train": {"use": "m:Data"}},
                "batch": {"global": 100 * PODS_PER_JOB, "micro": 2}, "optim": {"lr": 0.1},
            },
        },
    }  # fmt: skip


def _managed(manager: str, owned: Object, at: float) -> Object:
    return {
        "manager": manager, "operation": "Update", "apiVersion": "v1", "time": when(at),
        "fieldsType": "FieldsV1", "fieldsV1": _fields(owned),
    }  # fmt: skip


def _fields(value: Any) -> Object:
    """FieldsV1: each key once more, and lists by their merge key."""
    if isinstance(value, dict):
        return {f"f:{name}": _fields(each) for name, each in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        key = next((it for it in ("name", "type") if it in value[0]), "")
        if key:
            return {f"k:{json.dumps({key: each.get(key)})}": {".": {}, **_fields(each)} for each in value}
    return {}
