"""Creates a job in a cluster: everything is checked before anything is written, and a failure leaves nothing behind."""

import os
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

from ktrain import names
from ktrain.cluster import CONFIG_MAP, JOB, Cluster
from ktrain.errors import ClusterError, Conflict, MissingError, SpecError, StorageError, TakenError
from ktrain.history import job_storage
from ktrain.jobs.find import ENDED, conditions, no_operator
from ktrain.jobs.reach import borrow_credentials
from ktrain.load import Loaded
from ktrain.render import render
from ktrain.spec import TrainingJob
from ktrain.submit.pack import Archive, pack
from ktrain.taken import Taken, take

Object = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """What a submission will create."""

    job: TrainingJob
    config: Object
    pytorch_job: Object
    run: str  # empty: storage is out of reach from here, and the launcher finds the run
    step: int  # that it goes on from
    code: Archive | None
    notes: tuple[str, ...]


def plan(loaded: Loaded, cluster: Cluster, *, fresh: bool, environ: MutableMapping[str, str] = os.environ) -> Plan:
    """Which run, which code, which objects; writes only to storage. SpecError, ClusterError, StorageError."""
    job = loaded.job
    check_storage(job)
    code = pack(loaded.code_dir, job.spec.code.exclude) if job.spec.code else None
    notes = list(borrow_credentials(cluster, job, environ))
    try:
        taken: Taken | None = take(job, loaded.storage_url, fresh=fresh)
    except StorageError as error:
        if code is not None or fresh or isinstance(error, Conflict):
            raise
        notes.append(f"storage is not reached from here ({error}); the launcher finds the run by itself")
        taken = None
    if taken and taken.is_done:
        raise TakenError(
            f"run {taken.run[:8]} of this job is done, at step {taken.step}; raise trainer.duration to train on, "
            "or begin a new run with --fresh"
        )
    if code is not None:
        _upload(code, job)
    run, attempt, step = (taken.run, taken.attempt, taken.step) if taken else ("", 1, 0)
    config, pytorch_job = render(job, attempt=attempt, run=run, code=code.sha256 if code else "")
    return Plan(job, config, pytorch_job, run, step, code, (*notes, *(taken.warnings if taken else ())))


def refuse_taken(cluster: Cluster, job: TrainingJob, *, replace: bool) -> None:
    """TakenError when a job of this name is there; one that has ended is deleted with `replace`."""
    me = job.metadata
    there = _find(cluster, me.namespace, me.name)
    if there is None:
        return
    state = next((it["type"] for it in reversed(conditions(there)) if it["status"] == "True"), "Created")
    if state not in ENDED:
        raise TakenError(
            f"job {me.name} is already in namespace {me.namespace} ({state}); `ktrain status {me.name}` tells of it, "
            f"`ktrain delete {me.name}` removes it and keeps its run"
        )
    if not replace:
        raise TakenError(
            f"job {me.name} has ended in namespace {me.namespace} ({state}); --replace submits it again: its run goes on"
        )
    cluster.delete(JOB, me.namespace, me.name, uid=there["metadata"]["uid"])


def dry_run(cluster: Cluster, made: Plan) -> None:
    """Asks the server whether it would take both objects."""
    for kind, document in ((CONFIG_MAP, made.config), (JOB, made.pytorch_job)):
        try:
            cluster.create(kind, document, dry_run=True)
        except TakenError:
            if kind is JOB:
                raise
        except MissingError as error:
            raise _explained(error, made.job) from None


def create(cluster: Cluster, made: Plan) -> Object:
    """The ConfigMap, the job, and who owns whom; what was made is taken back when the next step fails."""
    is_ours = _create_config(cluster, made.config)
    try:
        job = cluster.create(JOB, made.pytorch_job)
    except ClusterError:
        if is_ours:
            cluster.delete(CONFIG_MAP, made.config["metadata"]["namespace"], made.config["metadata"]["name"])
        raise
    me = job["metadata"]
    owner = {"apiVersion": job["apiVersion"], "kind": job["kind"], "name": me["name"], "uid": me["uid"]}
    cluster.patch(
        CONFIG_MAP, me["namespace"], made.config["metadata"]["name"], {"metadata": {"ownerReferences": [owner]}}
    )
    return job


def _create_config(cluster: Cluster, config: Object) -> bool:
    try:
        cluster.create(CONFIG_MAP, config)
    except TakenError:  # named by its content: it is the same
        return False
    return True


def check_storage(job: TrainingJob) -> None:
    """SpecError when the storage is a folder that goes with its pod."""
    url = job.spec.storage.url
    if url.startswith("s3://"):
        return
    path = url.removeprefix("file://")
    if not any(path.startswith(volume.mount_path) for volume in job.spec.volumes):
        raise SpecError(
            f"spec.storage.url is {url}, a folder that dies with its pod; write s3://bucket/prefix, or a path below a "
            "volume's mountPath"
        )


def _upload(code: Archive, job: TrainingJob) -> None:
    storage = job_storage(job)
    key = f"{names.DIR_CODE}/{code.sha256}.tar.gz"
    if storage.stat(key) is None:
        storage.put(key, code.data)


def _find(cluster: Cluster, namespace: str, name: str) -> Object | None:
    try:
        return cluster.get(JOB, namespace, name)
    except MissingError as error:
        if "page not found" in str(error):  # no such kind, rather than no such job
            raise no_operator() from None
        return None


def _explained(error: MissingError, job: TrainingJob) -> MissingError:
    if "page not found" in str(error):
        return no_operator()
    if f'namespaces "{job.metadata.namespace}"' in str(error):
        return MissingError(
            f"there is no namespace {job.metadata.namespace}; make it with `kubectl create namespace {job.metadata.namespace}`, "
            "or name another with --namespace"
        )
    return error
