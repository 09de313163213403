"""The API server's objects, as far as they are read: everything else in them is passed over."""

import msgspec

from ktrain_controller.model import Phase


class Struct(msgspec.Struct, gc=False, rename="camel"):
    """Of the API: camelCase, unknown fields are passed over, null counts as absent where None is allowed."""


class Meta(Struct):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    deletion_grace_period_seconds: int | None = None
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None


class Terminated(Struct):
    exit_code: int = 0
    reason: str = ""
    message: str = ""
    finished_at: str | None = None


class Waiting(Struct):
    reason: str = ""
    message: str = ""


class ContainerState(Struct):
    waiting: Waiting | None = None
    terminated: Terminated | None = None


class ContainerStatus(Struct):
    state: ContainerState | None = None


class Condition(Struct):
    type: str = ""
    status: str = ""
    reason: str = ""
    message: str = ""
    last_transition_time: str | None = None


class Port(Struct):
    name: str = ""
    container_port: int = 0


class Container(Struct):
    ports: list[Port] | None = None


class PodSpec(Struct):
    node_name: str = ""
    containers: list[Container] = []


class PodStatus(Struct):
    phase: Phase = "Unknown"
    reason: str = ""
    start_time: str | None = None
    pod_ip: str = msgspec.field(name="podIP", default="")
    conditions: list[Condition] | None = None
    container_statuses: list[ContainerStatus] | None = None


class Pod(Struct):
    metadata: Meta
    spec: PodSpec = msgspec.field(default_factory=PodSpec)
    status: PodStatus = msgspec.field(default_factory=PodStatus)


class RunPolicy(Struct):
    suspend: bool | None = None


class Resources(Struct):
    requests: dict[str, str | int | float] | None = None
    limits: dict[str, str | int | float] | None = None


class Demand(Struct):
    """A container of a job's template: apart from a pod's, of which there are many, and which is read for its port."""

    resources: Resources | None = None


class TemplateSpec(Struct):
    containers: list[Demand] = []


class Template(Struct):
    metadata: Meta | None = None
    spec: TemplateSpec | None = None


class Replica(Struct):
    replicas: int | None = None
    template: Template | None = None


class JobSpec(Struct):
    run_policy: RunPolicy | None = None
    pytorch_replica_specs: dict[str, Replica] | None = None


class JobStatus(Struct):
    conditions: list[Condition] | None = None
    start_time: str | None = None
    completion_time: str | None = None


class Job(Struct):
    metadata: Meta
    spec: JobSpec = msgspec.field(default_factory=JobSpec)
    status: JobStatus | None = None


class Taint(Struct):
    key: str = ""


class NodeSpec(Struct):
    taints: list[Taint] | None = None


class NodeStatus(Struct):
    conditions: list[Condition] | None = None


class Node(Struct):
    metadata: Meta
    spec: NodeSpec = msgspec.field(default_factory=NodeSpec)
    status: NodeStatus = msgspec.field(default_factory=NodeStatus)


class ListMeta(Struct):
    resource_version: str = ""
    continue_: str = msgspec.field(name="continue", default="")


class List(Struct):
    metadata: ListMeta
    items: list[msgspec.Raw] | None = None


class Event(Struct):
    type: str
    object: msgspec.Raw


class Status(Struct):
    code: int = 0
    message: str = ""


class Bare(Struct):
    metadata: Meta
