"""Kueue's Workload of a job: what Kueue admits and evicts in the job's place, and what has to change to pause the job."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final, Self

from ktrain.cluster import WORKLOAD, Cluster, Kind
from ktrain.errors import NoKindError
from ktrain.jobs.admission import admission
from ktrain.jobs.find import ended, is_suspended, queue_of
from ktrain.names import ANNOTATION_PAUSE, LABEL_JOB_UID

Object = dict[str, Any]
AT_ONCE: Final = 100  # jobs asked about in one request: their uids are part of its path


@dataclass(frozen=True, slots=True)
class Workload:
    """As Kueue made it for one job."""

    kind: Kind  # in the version that the cluster serves
    namespace: str
    name: str
    uid: str
    version: str
    is_active: bool  # spec.active: whether Kueue may admit it
    pause: str = ""  # which pause of a controller made it inactive last
    why: str = ""  # it is not admitted, as Kueue says it

    @classmethod
    def read(cls, kind: Kind, document: Object) -> Self:
        """From the API's JSON."""
        me = document["metadata"]
        return cls(
            kind, me["namespace"], me["name"], me["uid"], me["resourceVersion"],
            is_active=bool(document["spec"].get("active", True)),
            pause=str((me.get("annotations") or {}).get(ANNOTATION_PAUSE, "")),
            why=admission(document),
        )  # fmt: skip


def find_workload(cluster: Cluster, namespace: str, job_uid: str) -> Workload | None:
    """Of one job. NoKindError when the cluster has no Kueue."""
    return find_workloads(cluster, namespace, [job_uid]).get(job_uid)


def find_workloads(cluster: Cluster, namespace: str, job_uids: Iterable[str]) -> dict[str, Workload]:
    """By the uid of the job that owns it; of two the newer one, because Kueue is about to delete the other."""
    found: dict[str, Workload] = {}
    wanted = list(job_uids)
    for begin in range(0, len(wanted), AT_ONCE):
        part = wanted[begin : begin + AT_ONCE]
        kind, documents = _list(cluster, WORKLOAD, namespace, part)
        for it in sorted(documents, key=lambda it: str(it["metadata"]["creationTimestamp"])):
            found |= {uid: Workload.read(kind, it) for uid in _owners(it) if uid in part}
    return found


def held_by(cluster: Cluster, jobs: Iterable[Object]) -> dict[str, Workload]:
    """Of those of the jobs that are suspended and Kueue's, by the job's uid: one request for a namespace's first hundred."""
    wanted: defaultdict[str, list[str]] = defaultdict(list)
    for job in jobs:
        if queue_of(job) and is_suspended(job) and not ended(job):
            wanted[job["metadata"]["namespace"]].append(job["metadata"]["uid"])
    found: dict[str, Workload] = {}
    for namespace, uids in wanted.items():
        found |= find_workloads(cluster, namespace, uids)
    return found


def _list(cluster: Cluster, kind: Kind, namespace: str, job_uids: Sequence[str]) -> tuple[Kind, list[Object]]:
    try:
        return kind, list(cluster.list(kind, namespace, labels=f"{LABEL_JOB_UID} in ({','.join(job_uids)})"))
    except NoKindError:
        if kind.older is None:
            raise
        return _list(cluster, kind.older, namespace, job_uids)


def _owners(document: Object) -> list[str]:
    """The label is only a label: who owns it is said here."""
    return [str(it["uid"]) for it in document["metadata"].get("ownerReferences") or ()]
