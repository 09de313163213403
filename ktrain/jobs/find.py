"""A job's objects in the cluster."""

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from ktrain.cluster import CONFIG_MAP, JOB, POD, Cluster
from ktrain.errors import MissingError
from ktrain.names import ANNOTATION_POLICY, ANNOTATION_SUBMITTED, LABEL_QUEUE
from ktrain.spec import TrainingJob
from ktrain.spec.platform import Elastic
from ktrain.spec.policy import Policy, read_policy

Object = dict[str, Any]
JOB_NAME: Final = "training.kubeflow.org/job-name"
ENDED: Final = frozenset({"Succeeded", "Failed"})


def find_job(cluster: Cluster, namespace: str, name: str) -> Object:
    """The job; MissingError says which are there."""
    try:
        return cluster.get(JOB, namespace, name)
    except MissingError:
        names = sorted(it["metadata"]["name"] for it in cluster.list(JOB, namespace))
        there = f"there are {', '.join(names[:10])}" if names else "there is none at all"
        raise MissingError(f"there is no job {name!r} in namespace {namespace}; {there}") from None


def reach_job(name: str, *, namespace: str | None, context: str | None) -> tuple[Cluster, str, Object]:
    """The cluster, the namespace and the job there, as a command's options name them."""
    cluster = Cluster.connect(context=context)
    where = namespace or cluster.namespace
    return cluster, where, find_job(cluster, where, name)


def find_pods(cluster: Cluster, namespace: str, name: str) -> tuple[Object, ...]:
    """The job's pods, by index."""
    return tuple(sorted(cluster.list(POD, namespace, labels=f"{JOB_NAME}={name}"), key=index))


def index(pod: Object) -> int:
    """The pod's place in the job."""
    return int(pod["metadata"]["labels"].get("training.kubeflow.org/replica-index", "0"))


def is_running(pod: Object) -> bool:
    """Whether its launcher can be spoken to."""
    return pod["status"].get("phase") == "Running" and "deletionTimestamp" not in pod["metadata"]


def running_pods(cluster: Cluster, namespace: str, name: str) -> list[Object]:
    """Those that can be asked something, by index; MissingError when there is none."""
    pods = [pod for pod in find_pods(cluster, namespace, name) if is_running(pod)]
    if not pods:
        raise MissingError(f"no pod of job {name} runs now; `ktrain status {name} -n {namespace}` says why")
    return pods


def metrics_port(pod: Object) -> int:
    """Where its launcher serves."""
    ports = [port for container in pod["spec"]["containers"] for port in container.get("ports", ())]
    return next((int(port["containerPort"]) for port in ports if port.get("name") == "metrics"), 9400)


def conditions(job: Object) -> list[Object]:
    """Of the job's status, in the order of the operator."""
    found: list[Object] = job.get("status", {}).get("conditions") or []
    return found


def ended(job: Object) -> Object | None:
    """The condition that says how the job has ended; None while it has not."""
    return next((it for it in conditions(job) if it["type"] in ENDED and it["status"] == "True"), None)


def submitted(job: Object) -> float | None:
    """Unix seconds, by the clock of whoever submitted it; None when it was made by other means."""
    template = job["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]
    text = (template.get("metadata", {}).get("annotations") or {}).get(ANNOTATION_SUBMITTED, "")
    try:
        return float(text)
    except ValueError:
        return None


def is_suspended(job: Object) -> bool:
    """Whether its spec says that it must have no pods."""
    return bool(job["spec"].get("runPolicy", {}).get("suspend"))


def queue_of(job: Object) -> str:
    """The LocalQueue through which Kueue lets it run; empty when Kueue does not own it."""
    return str((job["metadata"].get("labels") or {}).get(LABEL_QUEUE, ""))


def spec_of(cluster: Cluster, job: Object) -> TrainingJob:
    """The resolved spec that the job's pods read, as amended since; MissingError when ktrain did not make the job."""
    me, template = job["metadata"], worker(job)["template"]["spec"]
    volumes = {volume["name"]: volume for volume in template.get("volumes", ())}
    try:
        config = volumes["ktrain-spec"]["configMap"]["name"]
        document = cluster.get(CONFIG_MAP, me["namespace"], config)["data"]["job.json"]
        return _amended(TrainingJob.model_validate_json(document), job)
    except (KeyError, MissingError):
        raise MissingError(
            f"job {me['name']} in namespace {me['namespace']} has no ConfigMap with its spec; ktrain did not make it, or it was removed"
        ) from None
    except ValidationError as error:
        raise MissingError(
            f"the spec of job {me['name']} cannot be read by this ktrain ({error.errors()[0]['msg']}); was it submitted by a newer one?"
        ) from None


def policy_of(job: Object) -> Policy | None:
    """The part of its spec that is kept with the object; None when somebody has garbled it."""
    try:
        return read_policy((job["metadata"].get("annotations") or {}).get(ANNOTATION_POLICY, ""))
    except ValidationError:
        return None


def needed(job: Object) -> int:
    """How many of its pods have to run so that it can train."""
    replicas, policy = int(worker(job).get("replicas", 1)), policy_of(job)
    return min(replicas, policy.nodes.min) if policy and isinstance(policy.nodes, Elastic) else replicas


def _amended(spec: TrainingJob, job: Object) -> TrainingJob:
    """With what was changed in place, which is in an annotation; a garbled one changes nothing."""
    policy = policy_of(job)
    if policy is None:
        return spec
    newer = {name: getattr(policy, name) for name in Policy.model_fields}
    return spec.model_copy(update={"spec": spec.spec.model_copy(update=newer)})


def worker(job: Object) -> Object:
    """The part of the job that makes its pods."""
    found: Object = job["spec"]["pytorchReplicaSpecs"]["Worker"]
    return found


def environment(job: Object) -> Mapping[str, str]:
    """What the template gives its launcher, values only."""
    containers = worker(job)["template"]["spec"]["containers"]
    return {it["name"]: it.get("value", "") for container in containers for it in container.get("env", ())}
