"""The ConfigMap with the resolved spec, and the PyTorchJob that runs it."""

import hashlib
import json
from typing import Any

from ktrain import names
from ktrain.errors import SpecError
from ktrain.render.pod import pod_template
from ktrain.spec import TrainingJob
from ktrain.spec.policy import Policy

Object = dict[str, Any]
Rendered = tuple[Object, Object]


def render(
    job: TrainingJob, *, attempt: int = 1, run: str = "", code: str = "", submitted: float | None = None
) -> Rendered:
    """(ConfigMap, PyTorchJob). run: uuid to resume, empty for the job's current one; code: sha256 of the archive.
    submitted: Unix seconds from which the job's time is counted.

    SpecError when the job lacks what only a cluster needs.
    """
    if job.spec.image is None:
        raise SpecError(
            "spec.image is missing; a cluster needs a worker image, for example registry.example/ktrain-worker:0.1.0"
        )
    document = resolved(job)
    config = _config_map(job, document)
    name = config["metadata"]["name"]
    template = pod_template(job, config=name, attempt=attempt, run=run, code=code, submitted=submitted)
    return config, _pytorch_job(job, template, attempt)


def resolved(job: TrainingJob) -> str:
    """The spec with all defaults, as the one JSON document that the launcher reads."""
    return json.dumps(job.model_dump(mode="json", by_alias=True), sort_keys=True, separators=(",", ":"))


def spec_hash(job: TrainingJob) -> str:
    """Ten hex digits of the resolved spec."""
    return hashlib.sha256(resolved(job).encode()).hexdigest()[:10]


def _config_map(job: TrainingJob, document: str) -> Object:
    # Immutable and named by its content: pods of an older attempt keep reading the spec that they were made with.
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": {**_metadata(job), "name": f"{job.metadata.name}-{spec_hash(job)}"},
        "immutable": True,
        "data": {"job.json": document},
    }


def _pytorch_job(job: TrainingJob, template: Object, attempt: int) -> Object:
    spec = job.spec
    metadata = _metadata(job)
    metadata["annotations"] = {
        **job.metadata.annotations,
        names.ANNOTATION_ATTEMPT: str(attempt),
        names.ANNOTATION_SPEC_HASH: spec_hash(job),
        names.ANNOTATION_POLICY: Policy.of(spec).encode(),
    }
    if spec.scheduling.queue:
        metadata["labels"][names.LABEL_QUEUE] = spec.scheduling.queue
    policy: Object = {"cleanPodPolicy": "Running", "suspend": False}
    if spec.scheduling.scheduler_name:
        policy["schedulingPolicy"] = {"minAvailable": spec.min_nodes}
    return {
        "apiVersion": "kubeflow.org/v1",
        "kind": "PyTorchJob",
        "metadata": metadata,
        "spec": {
            "nprocPerNode": str(spec.ranks_per_node),
            "runPolicy": policy,
            "pytorchReplicaSpecs": {
                # Workers only: a Master brings an init container that fails in restricted and air-gapped namespaces.
                "Worker": {"replicas": spec.max_nodes, "restartPolicy": "ExitCode", "template": template}
            },
        },
    }


def _metadata(job: TrainingJob) -> Object:
    labels = {**job.metadata.labels, names.MANAGED_BY: "ktrain", names.LABEL_JOB: job.metadata.name}
    return {"name": job.metadata.name, "namespace": job.metadata.namespace, "labels": labels}
