"""The whole job file."""

from typing import Any, Literal, Self

from pydantic import field_validator, model_validator

from ktrain import names
from ktrain.spec import forms
from ktrain.spec import platform as p
from ktrain.spec.base import Model, setting
from ktrain.spec.trainer import Trainer
from ktrain.spec.tune import Tune
from ktrain.units import Time, counted

MAX_NAME = 50  # the operator makes <job>-worker-<i> of it, and a DNS label ends at 63


class Metadata(Model):
    """Who the job is."""

    name: p.Name = setting(resume="free", doc=f"name of the job, at most {MAX_NAME} characters", max_length=MAX_NAME)
    namespace: p.Name = setting("default", resume="free", doc="Kubernetes namespace; on a laptop a folder")
    labels: dict[str, str] = setting({}, resume="free", doc="labels of all objects")
    annotations: dict[str, str] = setting({}, resume="free", doc="annotations of the job")

    @field_validator("name")
    @classmethod
    def _starts_with_letter(cls, name: str) -> str:
        if not name[0].isalpha():
            raise ValueError(f"{name!r} must begin with a letter: the operator makes DNS names of it")
        return name


class JobSpec(Model):
    """What to run, where, and what to do when it breaks."""

    image: str | None = setting(
        None, resume="free", doc="worker image; needed on a cluster", pattern=forms.IMAGE.pattern, max_length=500
    )
    image_pull_secrets: tuple[p.Name, ...] = setting((), resume="free", doc="Secrets for the image registry")
    service_account: p.Name | None = setting(None, resume="free", doc="ServiceAccount of the pods")
    nodes: int | p.Elastic = setting(
        1, resume="free", doc="pods: a number, or {min, max} for an elastic job", validate_default=True
    )
    procs_per_node: int | None = setting(None, resume="free", doc="ranks per pod; none: its GPUs, else 1", ge=1, le=64)
    resources: dict[str, p.Quantity] = setting({}, resume="free", doc="per pod: cpu, memory, nvidia.com/gpu, …")
    storage: p.StorageSpec = setting(p.StorageSpec(url="runs"), resume="free", doc="where the run is kept")
    code: p.Code | None = setting(None, resume="free", doc="the user's own code")
    env: dict[p.EnvName, p.EnvValue] = setting({}, resume="free", doc="environment of the ranks")
    secret_env: dict[p.EnvName, p.SecretRef] = setting({}, resume="free", doc="environment from Secrets")
    volumes: tuple[p.Volume, ...] = setting((), resume="free", doc="volumes of the pods")
    scheduling: p.Scheduling = setting(p.Scheduling(), resume="free", doc="on which nodes, with what priority")
    preemption: p.Preemption = setting(p.Preemption(), resume="free", doc="what the pods get when they are told to go")
    restart: p.Restart = setting(p.Restart(), resume="free", doc="the budget of failures")
    hang: p.Hang = setting(p.Hang(), resume="free", doc="when a job that makes no step counts as hung")
    deadline: Time | None = setting(None, resume="free", doc="longest time from the start, enforced by the controller")
    ttl: Time = setting("7d", resume="free", doc="how long a finished job is kept", validate_default=True)
    autoscale: p.Autoscale | None = setting(None, resume="free", doc="node count by a PromQL query; elastic jobs only")
    metrics: p.Metrics = setting(p.Metrics(), resume="free", doc="the pods' metrics endpoint")
    pod_patch: dict[str, Any] = setting({}, resume="free", doc="strategic-merge patch of the pod template")
    trainer: Trainer | None = setting(None, resume="refuse", doc="the declarative trainer; or script")
    script: p.Script | None = setting(None, resume="refuse", doc="the user's own program; or trainer")
    tune: Tune | None = setting(None, resume="free", doc="what `ktrain tune` searches for; nothing else reads it")

    @field_validator("nodes")
    @classmethod
    def _at_least_one(cls, nodes: int | p.Elastic) -> int | p.Elastic:
        if isinstance(nodes, int) and not 1 <= nodes <= 10_000:
            raise ValueError(f"nodes is {nodes}; a job has 1 to 10000")
        return nodes

    @model_validator(mode="after")
    def _one_program(self) -> Self:
        if (self.trainer is None) == (self.script is None):
            given = "both trainer and script" if self.trainer else "neither trainer nor script"
            raise ValueError(f"spec has {given}; give exactly one")
        return self

    @model_validator(mode="after")
    def _tune_measures_something(self) -> Self:
        if self.tune and self.trainer and not self.trainer.evaluates:
            missing = (
                "eval.maxSamples is 0; raise it"
                if self.trainer.data.has_val
                else "there is no trainer.data.val; add it"
            )
            raise ValueError(f"tune.metric is {self.tune.metric}, but {missing}")
        return self

    @model_validator(mode="after")
    def _autoscale_needs_elastic(self) -> Self:
        if self.autoscale and isinstance(self.nodes, int):
            raise ValueError(
                f"autoscale needs an elastic job, but nodes is {self.nodes}; write nodes: {{min: 1, max: {self.autoscale.max}}}"
            )
        return self

    @model_validator(mode="after")
    def _enough_micro_batches(self) -> Self:
        if self.trainer:
            rounds = self.trainer.batch.micros
            if self.max_ranks > rounds:
                raise ValueError(
                    f"the job may have {self.max_ranks} ranks, but batch.global / batch.micro gives {counted(rounds, 'micro-batch')}; "
                    "lower nodes, procsPerNode or batch.micro, or raise batch.global"
                )
        return self

    @model_validator(mode="after")
    def _copies_fit_every_size(self) -> Self:
        shards = self.trainer.parallel.shards if self.trainer else None
        if shards is None:
            return self
        for nodes in range(self.min_nodes, self.max_nodes + 1):
            if nodes * self.ranks_per_node % shards:
                raise ValueError(
                    f"on {counted(nodes, 'node')} the job has {counted(nodes * self.ranks_per_node, 'rank')}, of which parallel.shards, "
                    f"{shards}, is no divisor; with nodes {{min, max}} it must divide each number between"
                )
        return self

    @property
    def ranks_per_node(self) -> int:
        """procsPerNode, else the GPUs of a node, else 1."""
        if self.procs_per_node is not None:
            return self.procs_per_node
        gpus = [int(amount) for name, amount in self.resources.items() if name.endswith("/gpu") and amount.isdigit()]
        return max([*gpus, 1])

    @property
    def max_nodes(self) -> int:
        """The most pods that the job may have."""
        return p.most(self.nodes)

    @property
    def min_nodes(self) -> int:
        """The fewest pods that the job may train on."""
        return p.fewest(self.nodes)

    @property
    def max_ranks(self) -> int:
        """The most ranks that the job may have."""
        return self.max_nodes * self.ranks_per_node


class TrainingJob(Model):
    """A job file."""

    api_version: Literal["ktrain.dev/v1"] = setting(names.API_VERSION, resume="free", doc="version of this format")
    kind: Literal["TrainingJob"] = setting(names.KIND, resume="free", doc="always TrainingJob")
    metadata: Metadata = setting(resume="free", doc="who the job is")
    spec: JobSpec = setting(resume="free", doc="what to run")
