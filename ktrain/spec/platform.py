"""The parts of the job file that say where and how the job runs on a cluster."""

from datetime import timedelta
from typing import Annotated, Final, Literal, Self

from pydantic import BeforeValidator, StringConstraints, WithJsonSchema, model_validator

from ktrain.spec import forms
from ktrain.spec.base import Model, setting
from ktrain.units import Span, Time

Name = Annotated[str, StringConstraints(pattern=forms.LABEL.pattern, max_length=63)]
EnvName = Annotated[str, StringConstraints(pattern=forms.ENV_NAME.pattern, max_length=256)]
EnvValue = Annotated[str, StringConstraints(pattern=forms.NO_NUL.pattern, max_length=32768)]
MAX_DOUBLINGS: Final = 30  # of a pause: beyond, the numbers would overflow


def _quantity(value: object) -> object:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


Quantity = Annotated[
    str,
    BeforeValidator(_quantity),
    StringConstraints(pattern=forms.QUANTITY.pattern, max_length=40),
    WithJsonSchema({"anyOf": [{"type": "number"}, {"type": "string", "pattern": forms.QUANTITY.pattern}]}),
]


class Elastic(Model):
    """Between how many nodes the job may run."""

    min: int = setting(resume="free", doc="fewest nodes that may train", ge=1, le=10_000)
    max: int = setting(resume="free", doc="most nodes that may train", ge=1, le=10_000)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.min > self.max:
            raise ValueError(f"min is {self.min}, but max is {self.max}; raise max or lower min")
        return self


def fewest(nodes: int | Elastic) -> int:
    """Of spec.nodes: the fewest that may train."""
    return nodes if isinstance(nodes, int) else nodes.min


def most(nodes: int | Elastic) -> int:
    """Of spec.nodes: the most that may train."""
    return nodes if isinstance(nodes, int) else nodes.max


class StorageSpec(Model):
    """Where checkpoints, metrics and state of the run live."""

    url: str = setting(resume="free", doc="s3://bucket/prefix, file:///path, or a folder relative to the job file",
                   min_length=1, max_length=1024)  # fmt: skip
    endpoint: str | None = setting(
        None, resume="free", doc="URL of an S3 server that is not AWS", pattern=forms.ENDPOINT.pattern
    )
    region: str | None = setting(None, resume="free", doc="S3 region", max_length=64)
    secret: Name | None = setting(
        None,
        resume="free",
        doc="Kubernetes Secret with AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; without it the pod's identity is used",
    )
    ca_bundle: str | None = setting(None, resume="free", doc="path in the pod of a custom CA bundle for the endpoint")


class Code(Model):
    """The user's own code, packed and uploaded by submit; no image rebuild."""

    dir: str = setting(".", resume="free", doc="folder to pack, relative to the job file", min_length=1)
    exclude: tuple[str, ...] = setting((), resume="free", doc="glob patterns left out, beside .gitignore's and .git")


class SecretRef(Model):
    """One key of a Kubernetes Secret."""

    secret: Name = setting(resume="free", doc="name of the Secret")
    key: str = setting(resume="free", doc="key in the Secret", min_length=1, max_length=253)


class Volume(Model):
    """A volume mounted into every pod; exactly one source."""

    name: Name = setting(resume="free", doc="name of the volume")
    mount_path: str = setting(resume="free", doc="absolute path in the pod", pattern=forms.MOUNT_PATH.pattern)
    claim: Name | None = setting(None, resume="free", doc="PersistentVolumeClaim")
    config_map: Name | None = setting(None, resume="free", doc="ConfigMap")
    secret: Name | None = setting(None, resume="free", doc="Secret")
    empty_dir: bool = setting(False, resume="free", doc="scratch space that goes with the pod")
    read_only: bool = setting(False, resume="free", doc="mount read-only")

    @model_validator(mode="after")
    def _one_source(self) -> Self:
        sources = sum((self.claim is not None, self.config_map is not None, self.secret is not None, self.empty_dir))
        if sources != 1:
            raise ValueError(
                f"volume {self.name!r} has {sources} sources; give exactly one of claim, configMap, secret, emptyDir"
            )
        return self


class Toleration(Model):
    """A Kubernetes toleration."""

    key: str | None = setting(None, resume="free", doc="taint key; none tolerates every taint")
    operator: Literal["Exists", "Equal"] = setting("Equal", resume="free", doc="how value compares")
    value: str | None = setting(None, resume="free", doc="taint value")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = setting(
        None, resume="free", doc="taint effect; none matches all"
    )
    toleration_seconds: int | None = setting(None, resume="free", doc="for NoExecute: how long to stay")


class Scheduling(Model):
    """On which nodes, through which queue, with what priority."""

    queue: str | None = setting(None, resume="free", doc="Kueue LocalQueue")
    priority_class: Name | None = setting(None, resume="free", doc="PriorityClass of the pods")
    scheduler_name: str | None = setting(None, resume="free", doc="scheduler, for gang scheduling")
    node_selector: dict[str, str] = setting({}, resume="free", doc="labels that a node must have")
    tolerations: tuple[Toleration, ...] = setting((), resume="free", doc="taints that the pods accept")
    spot: bool = setting(False, resume="free", doc="accept preemptible nodes")


class Preemption(Model):
    """What the pods get when they are told to go."""

    grace: Time = setting(
        "30s", resume="free", doc="time from SIGTERM to SIGKILL for the last checkpoint", validate_default=True
    )


class Backoff(Model):
    """Exponential pause between restarts."""

    base: Time = setting("2s", resume="free", doc="first pause", validate_default=True)
    cap: Time = setting("2m", resume="free", doc="longest pause", validate_default=True)


class Restart(Model):
    """The budget of failures; preemption and node loss do not spend it."""

    max: int = setting(
        10,
        resume="free",
        doc="restarts within the window before the job fails; a controller counts up to 199",
        ge=0,
        le=10_000,
    )
    window: Time = setting("1h", resume="free", doc="length of the window", validate_default=True)
    backoff: Backoff = setting(Backoff(), resume="free", doc="pause between restarts")
    in_place: int = setting(
        3,
        resume="free",
        doc="restarts of the ranks inside their pods, without new pods, between two commits",
        ge=0,
        le=1000,
    )

    def pause(self, failures: int) -> timedelta:
        """Before the next try after so many failures: none after the first, which mostly comes alone; then base, doubled up to cap."""
        if failures < 2:
            return timedelta(0)
        return min(self.backoff.cap, self.backoff.base * float(2 ** min(failures - 2, MAX_DOUBLINGS)))


class Hang(Model):
    """When a job that makes no step counts as hung."""

    timeout: Time | Literal["auto"] = setting(
        "auto", resume="free", doc="longest time without a step; auto: from the job's own step times"
    )


class Autoscale(Model):
    """Node count by a PromQL query; elastic jobs only."""

    query: str = setting(resume="free", doc="PromQL that gives one number", min_length=1, max_length=4096)
    target: float = setting(
        resume="free", doc="value that the query should have; twice as much asks for twice the nodes", gt=0
    )
    min: int = setting(resume="free", doc="fewest nodes", ge=1)
    max: int = setting(resume="free", doc="most nodes", ge=1)
    cooldown: Time = setting("10m", resume="free", doc="least time between two changes", validate_default=True)


class Metrics(Model):
    """The pod's metrics endpoint."""

    port: int = setting(9400, resume="free", doc="port of /metrics and /healthz", ge=1024, le=65535)
    per_rank: bool = setting(True, resume="free", doc="also series by rank, beside the job's own")


class Script(Model):
    """The user's own program, in place of `trainer:`."""

    path: str = setting(
        resume="warn", doc="Python file, relative to the code folder", min_length=1, pattern=forms.SOME_NO_NUL.pattern
    )
    args: tuple[str, ...] = setting((), resume="warn", doc="its arguments")
    duration: Span | None = setting(None, resume="free", doc="length, for progress and ETA only")
