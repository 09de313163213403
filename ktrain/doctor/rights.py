"""What ktrain asks of the API, and whether this user may."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from ktrain.cluster import ACCESS_REVIEW, Cluster
from ktrain.doctor.check import Check, Verdict
from ktrain.errors import MissingError


@dataclass(frozen=True, slots=True)
class Right:
    """Verbs on a resource, and the commands that need them."""

    group: str
    resource: str
    verbs: tuple[str, ...]
    needed_for: str
    is_vital: bool = False
    is_namespaced: bool = True


RIGHTS: Final = (
    Right("kubeflow.org", "pytorchjobs", ("get", "list", "create"), "submit, status, list", is_vital=True),
    Right("kubeflow.org", "pytorchjobs", ("patch",), "suspend, resume"),
    Right("kubeflow.org", "pytorchjobs", ("delete",), "delete, submit --replace"),
    Right("kubeflow.org", "pytorchjobs/status", ("patch",), "cancel"),
    Right("", "configmaps", ("get", "create", "patch", "delete"), "submit, suspend, checkpoints", is_vital=True),
    Right("", "secrets", ("get",), "reaching the storage with the job's own credentials"),
    Right("", "pods", ("get", "list"), "status, logs", is_vital=True),
    Right("", "pods", ("patch",), "checkpoints now, stacks, suspend with a checkpoint"),
    Right("", "pods/log", ("get",), "logs"),
    Right("", "pods/proxy", ("get",), "the progress in status and top"),
    Right("", "events", ("list",), "events, the reasons in status"),
    Right("", "nodes", ("list",), "naming a dead node in status", is_namespaced=False),
)
WITH_KUEUE: Final = (
    Right("kueue.x-k8s.io", "workloads", ("list",), "the reasons of queued jobs in status, list"),
    Right("kueue.x-k8s.io", "workloads", ("patch",), "suspend, resume of queued jobs"),
)


def rights(cluster: Cluster, namespace: str) -> Iterator[Check]:
    """One line for all that is allowed, and one for each right that is missing."""
    used = RIGHTS + (WITH_KUEUE if _has_kueue(cluster) else ())
    missing = [(right, verbs) for right in used if (verbs := _refused(cluster, namespace, right))]
    granted = sum(len(right.verbs) for right in used) - sum(len(verbs) for _, verbs in missing)
    if granted:
        yield Check("rights", Verdict.OK, f"{granted} verbs that ktrain uses are allowed in namespace {namespace}")
    for right, verbs in missing:
        verdict = Verdict.FAIL if right.is_vital else Verdict.WARN
        yield Check(
            "rights",
            verdict,
            f"you may not {', '.join(verbs)} {right.resource}; without it there is no: {right.needed_for}",
        )


def _has_kueue(cluster: Cluster) -> bool:
    try:
        cluster.raw(f"/apis/{WITH_KUEUE[0].group}")
    except MissingError:
        return False
    return True


def _refused(cluster: Cluster, namespace: str, right: Right) -> list[str]:
    resource, _, sub = right.resource.partition("/")
    return [
        verb
        for verb in right.verbs
        if not _may(cluster, {
            "namespace": namespace if right.is_namespaced else "", "verb": verb, "group": right.group,
            "resource": resource, "subresource": sub,
        })
    ]  # fmt: skip


def _may(cluster: Cluster, attributes: dict[str, str]) -> bool:
    review = {"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectAccessReview", "metadata": {"namespace": ""}}
    answer = cluster.create(ACCESS_REVIEW, {**review, "spec": {"resourceAttributes": attributes}})
    return bool(answer["status"]["allowed"])
