"""Kueue's part in the life of a PyTorchJob, as far as ktrain meets it: through the API, a real one or a fake.

    with Kueue(cluster, "research") as kueue:
        kueue.has_quota = False

What it does and says is Kueue's: pkg/controller/jobframework/reconciler.go and pkg/controller/core/workload_controller.go.
"""

import threading
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Final, Self

from ktrain.cluster import JOB, WORKLOAD, Cluster
from ktrain.errors import ClusterError
from ktrain.jobs.find import ended, is_suspended, queue_of, worker
from ktrain.names import LABEL_JOB_UID
from tests.controller.fake_objects import Object

Told = Mapping[str, tuple[str, str, str]]  # condition → status, reason, message
NO_QUOTA: Final = (
    "couldn't assign flavors to pod set worker: insufficient unused quota for cpu in flavor default, 2 more needed"
)
NO_RESERVATION: Final = ("False", "NoReservation", "The workload has no reservation")
PENDING: Final[Told] = {"QuotaReserved": ("False", "Pending", NO_QUOTA), "Admitted": NO_RESERVATION}
ADMITTED: Final[Told] = {
    "QuotaReserved": ("True", "QuotaReserved", "Quota reserved in ClusterQueue gpus"),
    "Evicted": ("False", "QuotaReserved", "Previously: The workload is deactivated"),
    "Admitted": ("True", "Admitted", "The workload is admitted"),
}
EVICTED: Final[Told] = {
    "Evicted": ("True", "Deactivated", "The workload is deactivated"),
    "QuotaReserved": ("False", "Pending", "The workload is deactivated"),
    "Admitted": NO_RESERVATION,
}


class Kueue:
    """Of one namespace: a step at a time, or on and on inside a `with`."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._cluster, self._namespace = cluster, namespace
        self.has_quota = True
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def step(self) -> None:
        """Looks at each queued job once."""
        for job in list(self._cluster.list(JOB, self._namespace)):
            if queue_of(job) and not ended(job):
                self._reconcile(job)

    def workload(self, job: Object) -> Object | None:
        """Of this job, as it is."""
        label = f"{LABEL_JOB_UID}={job['metadata']['uid']}"
        return next(iter(self._cluster.list(WORKLOAD, self._namespace, labels=label)), None)

    def _run(self) -> None:
        while not self._stop.wait(0.2):
            with suppress(ClusterError):  # somebody else was first, or the server is away: next time
                self.step()

    def _reconcile(self, job: Object) -> None:
        found = self.workload(job)
        if found is None:
            self._cluster.create(WORKLOAD, _workload_of(job))
        elif not found["spec"].get("active", True):
            self._tell(found, EVICTED)
            self._stop_job(job, found)
        elif self.has_quota:
            self._tell(found, ADMITTED)
            self._start_job(job)
        else:
            self._tell(found, PENDING)
            self._stop_job(job, found)

    def _start_job(self, job: Object) -> None:
        if is_suspended(job):
            self._patch_job(job, {"runPolicy": {"suspend": False}})

    def _stop_job(self, job: Object, workload: Object) -> None:
        """With the template's annotations as they were when the Workload was made, and nothing else."""
        if is_suspended(job):
            return
        now = worker(job)["template"]["metadata"]["annotations"]
        then = workload["spec"]["podSets"][0]["template"]["metadata"]["annotations"]
        back = {name: then.get(name) for name in {**now, **then}}
        template = {"metadata": {"annotations": back}}
        self._patch_job(
            job, {"runPolicy": {"suspend": True}, "pytorchReplicaSpecs": {"Worker": {"template": template}}}
        )

    def _patch_job(self, job: Object, spec: Object) -> None:
        me = job["metadata"]
        guard = {"uid": me["uid"], "resourceVersion": me["resourceVersion"]}
        self._cluster.patch(JOB, self._namespace, me["name"], {"metadata": guard, "spec": spec})

    def _tell(self, workload: Object, told: Told) -> None:
        """Its conditions, where they are others now."""
        held = {it["type"]: it for it in (workload.get("status") or {}).get("conditions", ())}
        news = {name: it for name, it in told.items() if name not in held or held[name]["message"] != it[2]}
        if not news:
            return
        since = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        for name, (status, reason, message) in news.items():
            told_now = {"type": name, "status": status, "reason": reason, "message": message}
            held[name] = {**told_now, "lastTransitionTime": since}
        me = workload["metadata"]
        change = {"metadata": {"uid": me["uid"]}, "status": {"conditions": list(held.values())}}
        self._cluster.patch(WORKLOAD, self._namespace, me["name"], change, sub="status")


def _workload_of(job: Object) -> Object:
    me, spec = job["metadata"], worker(job)
    owner = {"apiVersion": JOB.api, "kind": JOB.name, "name": me["name"], "uid": me["uid"], "controller": True}
    sets = [{"name": "worker", "count": spec.get("replicas", 1), "template": spec["template"]}]
    return {
        "apiVersion": WORKLOAD.api,
        "kind": WORKLOAD.name,
        "metadata": {
            "name": f"pytorchjob-{me['name']}-{me['uid'][:5]}",
            "namespace": me["namespace"],
            "labels": {LABEL_JOB_UID: me["uid"]},
            "ownerReferences": [owner],
        },
        "spec": {"active": True, "queueName": queue_of(job), "podSets": sets},
    }
