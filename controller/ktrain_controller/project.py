"""From the API server's JSON to the model, reading nothing else: 50,000 pods have to fit.

A page or an event costs what its text costs to scan; only the fields named here become objects.
"""

import json
import sys
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final, Generic, TypeVar

import msgspec

from ktrain import names
from ktrain.units import count_gpus
from ktrain_controller import api
from ktrain_controller.model import Exit, Job, Node, Pod

T = TypeVar("T")
MAX_MESSAGE: Final = 500
MAX_DIGITS: Final = 10  # of an attempt
JOB_NAME: Final = "training.kubeflow.org/job-name"
LEAVING_TAINTS: Final = (
    "aws-node-termination-handler/", "cloud.google.com/impending-node-termination", "karpenter.sh/disrupted",
    "karpenter.sh/disruption", "ToBeDeletedByClusterAutoscaler", "kubernetes.azure.com/scalesetpriority-evict",
    "node.kubernetes.io/out-of-service", "ktrain.dev/leaving",
)  # fmt: skip
_CONFIG: Final = frozenset(
    {
        "ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "ImageInspectError",
        "CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError",
    }
)  # fmt: skip


class Page(msgspec.Struct, Generic[T], frozen=True):
    """Part of a list."""

    items: tuple[T, ...]
    version: str
    token: str  # of the next page, empty after the last


class Event(msgspec.Struct, Generic[T], frozen=True):
    """One line of a watch: ADDED, MODIFIED, DELETED, BOOKMARK or ERROR."""

    type: str
    version: str = ""
    item: T | None = None  # of the first three
    code: int = 0  # of an ERROR
    message: str = ""


class Projection(Generic[T]):
    """One kind's way from text to model. An object that cannot be read is left out, and told to `on_odd`."""

    def __init__(self, kind: type[Any], make: Callable[[Any], T], on_odd: Callable[[str], object]) -> None:
        self._item = msgspec.json.Decoder(kind)
        self._list = msgspec.json.Decoder(api.List)
        self._event = msgspec.json.Decoder(api.Event)
        self._make, self._on_odd = make, on_odd

    def page(self, data: bytes) -> Page[T]:
        """Of a list; raises ValueError when it is none."""
        found = self._list.decode(data)
        items = (self._read(raw) for raw in found.items or ())
        return Page(
            tuple(it for it in items if it is not None), found.metadata.resource_version, found.metadata.continue_
        )

    def event(self, line: bytes) -> Event[T]:
        """Of a watch; raises ValueError when it is none."""
        found = self._event.decode(line)
        if found.type == "ERROR":
            status = msgspec.json.decode(found.object, type=api.Status)
            return Event(found.type, code=status.code, message=status.message)
        version = msgspec.json.decode(found.object, type=api.Bare).metadata.resource_version
        if found.type == "BOOKMARK":
            return Event(found.type, version)
        return Event(found.type, version, self._read(found.object))

    def _read(self, raw: msgspec.Raw) -> T | None:
        try:
            return self._make(self._item.decode(raw))
        except (msgspec.MsgspecError, ValueError, KeyError) as error:
            self._on_odd(str(error))
            return None


def pods(on_odd: Callable[[str], object]) -> Projection[Pod]:
    """Of pods."""
    return Projection(api.Pod, _pod, on_odd)


def jobs(on_odd: Callable[[str], object]) -> Projection[Job]:
    """Of PyTorchJobs."""
    return Projection(api.Job, _job, on_odd)


def nodes(on_odd: Callable[[str], object]) -> Projection[Node]:
    """Of nodes."""
    return Projection(api.Node, _node, on_odd)


def when(text: str | None) -> float | None:
    """Unix seconds of a timestamp of the API."""
    return datetime.fromisoformat(text).timestamp() if text else None


def _pod(it: api.Pod) -> Pod:
    meta, status = it.metadata, it.status
    labels, annotations = meta.labels or {}, meta.annotations or {}
    conditions = {each.type: each for each in status.conditions or ()}
    waiting, is_misconfigured = _waiting(status, conditions)
    disrupted = conditions.get("DisruptionTarget")
    return Pod(
        namespace=sys.intern(meta.namespace),
        name=meta.name,
        uid=meta.uid,
        version=meta.resource_version,
        job=sys.intern(labels.get(JOB_NAME, "")),
        index=int(labels.get(names.LABEL_REPLICA_INDEX, "0")),
        attempt=int(annotations.get(names.ANNOTATION_ATTEMPT, "0")),
        phase=status.phase,
        created=when(meta.creation_timestamp) or 0,
        node=sys.intern(it.spec.node_name),
        ip=status.pod_ip,
        port=_port(it.spec),
        started=when(status.start_time),
        deleting=when(meta.deletion_timestamp),
        deleted=_deleted(meta),
        reason=sys.intern(status.reason),
        is_disrupted=disrupted is not None and disrupted.status == "True",
        waiting=waiting,
        is_misconfigured=is_misconfigured,
        exit=_exit(status),
    )


def _deleted(meta: api.Meta) -> float | None:
    """The deletionTimestamp is when it has to be gone."""
    end = when(meta.deletion_timestamp)
    return None if end is None else end - (meta.deletion_grace_period_seconds or 0)


def _port(spec: api.PodSpec) -> int:
    ports = (port for container in spec.containers for port in container.ports or ())
    return next((port.container_port for port in ports if port.name == "metrics"), 0)


def _waiting(status: api.PodStatus, conditions: dict[str, api.Condition]) -> tuple[str, bool]:
    if status.phase != "Pending":
        return "", False
    scheduled = conditions.get("PodScheduled")
    if scheduled and scheduled.status == "False":
        return f"no node takes it: {(scheduled.message or scheduled.reason)[:MAX_MESSAGE]}", False
    for each in status.container_statuses or ():
        waiting = each.state.waiting if each.state else None
        if waiting and waiting.reason in _CONFIG:
            return f"{waiting.reason}: {waiting.message[:MAX_MESSAGE]}", True
        if waiting:
            return waiting.reason, False
    return "", False


def _exit(status: api.PodStatus) -> Exit | None:
    for each in status.container_statuses or ():
        ended = each.state.terminated if each.state else None
        if ended:
            return _told(ended)
    return None


def _told(ended: api.Terminated) -> Exit:
    """The launcher's own words, where it had the time for them."""
    try:
        said = json.loads(ended.message) if ended.message.startswith("{") else {}
    except (ValueError, RecursionError):
        said = {}
    if not isinstance(said, dict):
        said = {}
    return Exit(
        code=ended.exit_code,
        reason=sys.intern(ended.reason),
        at=when(ended.finished_at),
        cause=sys.intern(str(said.get("cause", ""))[:50]),
        message=str(said.get("message", "") or ended.message)[:MAX_MESSAGE],
        rank=_whole(said.get("rank")),
        step=_whole(said.get("step")),
        checkpoint=_whole(said.get("checkpoint")),
    )


def _whole(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _job(it: api.Job) -> Job:
    meta, status = it.metadata, it.status or api.JobStatus()
    labels, annotations = meta.labels or {}, meta.annotations or {}
    worker = (it.spec.pytorch_replica_specs or {}).get("Worker") or api.Replica()
    held = [each for each in status.conditions or () if each.status == "True"]
    ending = next((each for each in held if each.type in {"Succeeded", "Failed"}), None)
    attempt = _attempt(worker, annotations)
    newest = ending or (held[-1] if held else api.Condition(type="Created"))
    return Job(
        namespace=sys.intern(meta.namespace),
        name=meta.name,
        uid=meta.uid,
        version=meta.resource_version,
        created=when(meta.creation_timestamp) or 0,
        attempt=_number(attempt) or 0,
        replicas=1 if worker.replicas is None else worker.replicas,
        is_suspended=bool(it.spec.run_policy and it.spec.run_policy.suspend),
        queue=sys.intern(labels.get(names.LABEL_QUEUE, "")),
        policy=sys.intern(annotations.get(names.ANNOTATION_POLICY, "")),
        state=annotations.get(names.ANNOTATION_STATE, ""),
        phase=sys.intern(newest.type),
        started=when(status.start_time),
        ended=(when(status.completion_time) or when(ending.last_transition_time)) if ending else None,
        newest_attempt=_newest(annotations),
        since=when(newest.last_transition_time) or when(meta.creation_timestamp) or 0,
        gpus=_gpus(worker),
        odd="" if _number(attempt) is not None else f"{names.ANNOTATION_ATTEMPT} of its template is {attempt[:50]!r}",
    )


def _attempt(worker: api.Replica, annotations: dict[str, str]) -> str:
    """The template's, which new pods get; the job's own annotation only repeats it."""
    meta = worker.template.metadata if worker.template else None
    given = (meta.annotations or {}) if meta else {}
    return given.get(names.ANNOTATION_ATTEMPT) or annotations.get(names.ANNOTATION_ATTEMPT) or "0"


def _gpus(worker: api.Replica) -> int:
    """Of one pod, whoever makes them."""
    spec = worker.template.spec if worker.template else None
    asked = (each.resources or api.Resources() for each in (spec.containers if spec else ()))
    return sum(count_gpus({**(it.requests or {}), **(it.limits or {})}) for it in asked)


def _newest(annotations: dict[str, str]) -> int:
    """The job's own, which only we write; whatever somebody else has put there is none."""
    return _number(annotations.get(names.ANNOTATION_ATTEMPT, "")) or 0


def _number(text: str) -> int | None:
    return int(text) if text.isdecimal() and len(text) < MAX_DIGITS else None


def _node(it: api.Node) -> Node:
    ready = next((each for each in it.status.conditions or () if each.type == "Ready"), api.Condition())
    taints = (taint.key for taint in it.spec.taints or ())
    return Node(
        name=it.metadata.name,
        version=it.metadata.resource_version,
        is_ready=ready.status == "True",
        since=when(ready.last_transition_time) or 0,
        notice=next((key for key in taints if key.startswith(LEAVING_TAINTS)), ""),
    )
