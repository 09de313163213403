"""The pod template: launcher, environment, volumes, and the restricted Pod Security profile."""

import math
from typing import Any, Final

from ktrain import names
from ktrain.render.patch import strategic_merge
from ktrain.spec import JobSpec, TrainingJob
from ktrain.spec.platform import Volume
from ktrain.units import parse_bytes

CONTAINER: Final = "pytorch"  # the operator looks for a container of this name
SPEC_DIR: Final = "/etc/ktrain"
POD_INFO_DIR: Final = "/etc/ktrain-pod"
SCRATCH: Final = "/scratch"
UID: Final = 10001
SHUTDOWN_MARGIN_SECONDS: Final = 10  # for the launcher to flush its verdict after the ranks' last commit
NODE_LOSS_SECONDS: Final = 30  # Kubernetes' default is 300: five minutes of idle GPUs
Object = dict[str, Any]


def pod_template(
    job: TrainingJob, *, config: str, attempt: int, run: str, code: str, submitted: float | None
) -> Object:
    """The template of every worker, with the user's podPatch applied last."""
    spec = job.spec
    pod: Object = {
        "securityContext": _pod_security(),
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": math.ceil(spec.preemption.grace.total_seconds()) + SHUTDOWN_MARGIN_SECONDS,
        "containers": [_container(job, run=run, code=code)],
        "volumes": _volumes(spec, config),
        "tolerations": _tolerations(spec),
        **_placement(spec),
    }
    labels = {**job.metadata.labels, names.MANAGED_BY: "ktrain", names.LABEL_JOB: job.metadata.name}
    annotations = {names.ANNOTATION_ATTEMPT: str(attempt)}
    if submitted is not None:
        annotations[names.ANNOTATION_SUBMITTED] = f"{submitted:.3f}"
    template = {"metadata": {"labels": labels, "annotations": annotations}, "spec": pod}
    return strategic_merge(template, spec.pod_patch)


def _container(job: TrainingJob, *, run: str, code: str) -> Object:
    spec = job.spec
    container: Object = {
        "name": CONTAINER,
        "image": spec.image,
        # As arguments: the image's own entry point, tini in ours, goes before them.
        "args": ["python", "-m", "ktrain_launcher"],
        "env": _environment(job, run=run, code=code),
        "ports": [
            {"name": "pytorchjob-port", "containerPort": names.DEFAULT_RDZV_PORT},
            {"name": "metrics", "containerPort": spec.metrics.port},
        ],
        "resources": _resources(spec),
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        "terminationMessagePath": names.TERMINATION_LOG,
        "volumeMounts": _mounts(spec),
    }
    if spec.storage.secret:
        container["envFrom"] = [{"secretRef": {"name": spec.storage.secret}}]
    return container


def _environment(job: TrainingJob, *, run: str, code: str) -> list[Object]:
    spec = job.spec
    own = {
        names.ENV_SPEC: f"{SPEC_DIR}/job.json",
        names.ENV_NUM_NODES: str(spec.max_nodes),
        names.ENV_NPROC: str(spec.ranks_per_node),
        names.ENV_RDZV_HOST: f"{job.metadata.name}-worker-0",
        names.ENV_RDZV_PORT: str(names.DEFAULT_RDZV_PORT),
        names.ENV_RUN: run,
        names.ENV_CODE: code,
        names.ENV_METRICS_PORT: str(spec.metrics.port),
        names.ENV_SCRATCH: SCRATCH,
        names.ENV_TERMINATION_LOG: names.TERMINATION_LOG,
        names.ENV_REQUEST: f"{POD_INFO_DIR}/request",
    }
    return [
        *(
            _value(name, f"{SCRATCH}/{folder}")
            for name, folder in names.SCRATCH_FOLDERS.items()
            if name not in spec.env
        ),
        *(_value(name, value) for name, value in spec.env.items()),
        *(_secret(name, ref.secret, ref.key) for name, ref in spec.secret_env.items()),
        *(_value(name, value) for name, value in own.items()),
        # Of the pod, not of the template: the operator makes all workers from one.
        _field(names.ENV_NODE_RANK, f"metadata.labels['{names.LABEL_REPLICA_INDEX}']"),
        _field(names.ENV_ATTEMPT, f"metadata.annotations['{names.ANNOTATION_ATTEMPT}']"),
        _field(names.ENV_SUBMITTED, f"metadata.annotations['{names.ANNOTATION_SUBMITTED}']"),
    ]


def _resources(spec: JobSpec) -> Object:
    amounts = dict(spec.resources)
    limits = {name: amount for name, amount in amounts.items() if name != "cpu"}  # a CPU limit only throttles
    return {"requests": amounts, "limits": limits} if amounts else {}


def _volumes(spec: JobSpec, config: str) -> list[Object]:
    shm: Object = {"medium": "Memory"}
    if "memory" in spec.resources:  # counted into the pod's memory: more than half of it would starve the ranks
        shm["sizeLimit"] = str(parse_bytes(spec.resources["memory"]) // 2)
    request = {"path": "request", "fieldRef": {"fieldPath": f"metadata.annotations['{names.ANNOTATION_REQUEST}']"}}
    return [
        {"name": "ktrain-spec", "configMap": {"name": config}},
        {"name": "ktrain-pod", "downwardAPI": {"items": [request]}},
        {"name": "ktrain-shm", "emptyDir": shm},
        {"name": "ktrain-scratch", "emptyDir": {}},
        *(_volume(volume) for volume in spec.volumes),
    ]


def _volume(volume: Volume) -> Object:
    if volume.claim:
        source: Object = {"persistentVolumeClaim": {"claimName": volume.claim, "readOnly": volume.read_only}}
    elif volume.config_map:
        source = {"configMap": {"name": volume.config_map}}
    elif volume.secret:
        source = {"secret": {"secretName": volume.secret}}
    else:
        source = {"emptyDir": {}}
    return {"name": volume.name, **source}


def _mounts(spec: JobSpec) -> list[Object]:
    return [
        {"name": "ktrain-spec", "mountPath": SPEC_DIR, "readOnly": True},
        {"name": "ktrain-pod", "mountPath": POD_INFO_DIR, "readOnly": True},
        {"name": "ktrain-shm", "mountPath": "/dev/shm"},  # noqa: S108  -- the pod's own, a volume
        {"name": "ktrain-scratch", "mountPath": SCRATCH},
        *({"name": it.name, "mountPath": it.mount_path, "readOnly": it.read_only} for it in spec.volumes),
    ]


def _tolerations(spec: JobSpec) -> list[Object]:
    lost = [
        {
            "key": f"node.kubernetes.io/{state}",
            "operator": "Exists",
            "effect": "NoExecute",
            "tolerationSeconds": NODE_LOSS_SECONDS,
        }
        for state in ("not-ready", "unreachable")
    ]
    own = [it.model_dump(by_alias=True, exclude_none=True) for it in spec.scheduling.tolerations]
    return [*lost, *own]


def _placement(spec: JobSpec) -> Object:
    scheduling = spec.scheduling
    wanted = {
        "nodeSelector": scheduling.node_selector,
        "priorityClassName": scheduling.priority_class,
        "schedulerName": scheduling.scheduler_name,
        "serviceAccountName": spec.service_account,
        "imagePullSecrets": [{"name": name} for name in spec.image_pull_secrets],
    }
    return {name: value for name, value in wanted.items() if value}


def _pod_security() -> Object:
    return {
        "runAsNonRoot": True,
        "runAsUser": UID,
        "runAsGroup": UID,
        "fsGroup": UID,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def _value(name: str, value: str) -> Object:
    return {"name": name, "value": value}


def _secret(name: str, secret: str, key: str) -> Object:
    return {"name": name, "valueFrom": {"secretKeyRef": {"name": secret, "key": key}}}


def _field(name: str, path: str) -> Object:
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}}
