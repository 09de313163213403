"""Changes of a job's object and of its Workload, as merge patches that only the observed version takes. Pure."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from ktrain import names
from ktrain.jobs.find import worker
from ktrain.jobs.resize import resized
from ktrain.jobs.workload import Workload
from ktrain_controller.model import Job
from ktrain_controller.state import State

Object = dict[str, Any]
HOST: Final = "kubernetes.io/hostname"
WEIGHT: Final = 100


def remember(job: Job, state: State) -> Object:
    """The state, and nothing else."""
    return {
        "metadata": {
            "uid": job.uid,
            "resourceVersion": job.version,
            "annotations": {names.ANNOTATION_STATE: state.encode()},
        }
    }


def next_attempt(job: Job, state: State) -> Object:
    """The state, and one attempt more."""
    return of_attempt(job, state, job.attempt + 1)


def of_attempt(job: Job, state: State, attempt: int) -> Object:
    """The state, and the attempt that new pods carry; those that run keep theirs."""
    change = remember(job, state)
    change["metadata"]["annotations"][names.ANNOTATION_ATTEMPT] = str(attempt)
    template = {"metadata": {"annotations": {names.ANNOTATION_ATTEMPT: str(attempt)}}}
    change["spec"] = {"pytorchReplicaSpecs": {"Worker": {"template": template}}}
    return change


def suspended(job: Job, state: State, *, suspend: bool) -> Object:
    """All pods go, or may come; those that come then are of the next attempt."""
    change = next_attempt(job, state) if suspend else {**remember(job, state), "spec": {}}
    change["spec"]["runPolicy"] = {"suspend": suspend}
    return change


def activity(workload: Workload, *, is_active: bool, mark: str) -> Object:
    """Whether Kueue may admit the job, and which pause of ours has said so last."""
    return {
        "metadata": {
            "uid": workload.uid,
            "resourceVersion": workload.version,
            "annotations": {names.ANNOTATION_PAUSE: mark},
        },
        "spec": {"active": is_active},
    }


def of_size(job: Job, state: State, document: Object, replicas: int) -> Object:
    """The state, and another number of pods; `document` is the whole object of that version."""
    return {**remember(job, state), "spec": resized(document, replicas)}


def elsewhere(change: Object, document: Object, *, avoid: Iterable[str], before: Mapping[str, float]) -> Object:
    """`change`, with other nodes to avoid; `document` is the whole object of that version."""
    affinity = _avoiding(worker(document)["template"]["spec"].get("affinity") or {}, list(avoid), before)
    if affinity is not None:
        worker(change)["template"].setdefault("spec", {})["affinity"] = affinity
    return change


def _avoiding(affinity: Object, avoid: list[str], before: Mapping[str, float]) -> Object | None:
    """Preferred, not required: a job must not become unschedulable by a wish. None: nothing to change."""
    terms = (affinity.get("nodeAffinity") or {}).get("preferredDuringSchedulingIgnoredDuringExecution") or []
    others = [it for it in terms if not _is_ours(it)]
    if not avoid and len(others) == len(terms) and not before:
        return None
    wish = {"key": HOST, "operator": "NotIn", "values": avoid}
    ours = [{"weight": WEIGHT, "preference": {"matchExpressions": [wish]}}] if avoid else []
    return {"nodeAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": [*others, *ours]}}


def _is_ours(term: Object) -> bool:
    expressions = term.get("preference", {}).get("matchExpressions") or []
    return len(expressions) == 1 and expressions[0].get("key") == HOST and expressions[0].get("operator") == "NotIn"
