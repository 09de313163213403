"""Creates a job in a cluster: everything is checked before anything is written, and a failure leaves nothing behind."""

import time
from typing import Any

from ktrain import names
from ktrain.cluster import CONFIG_MAP, JOB, Cluster
from ktrain.errors import ClusterError, MissingError, TakenError
from ktrain.history import job_storage
from ktrain.jobs.find import ENDED, conditions
from ktrain.render import render
from ktrain.spec import TrainingJob
from ktrain.submit.pack import Archive
from ktrain.submit.plan import Plan
from ktrain.taken import Taken, take

Object = dict[str, Any]


def ended_job(cluster: Cluster, job: TrainingJob, *, replace: bool) -> Object | None:
    """The job of this name that `replace` replaces; TakenError when it has not ended, or must not be replaced."""
    me = job.metadata
    there = cluster.find(JOB, me.namespace, me.name)
    if there is None:
        return None
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
    return there


def dry_run(cluster: Cluster, job: TrainingJob, *, replaced: Object | None) -> None:
    """Asks the server whether it would take both objects."""
    config, pytorch_job = render(job)
    for kind, document in ((CONFIG_MAP, config), (JOB, pytorch_job)):
        try:
            cluster.create(kind, document, dry_run=True)
        except TakenError:  # told last: the server has no other objection
            if kind is JOB and replaced is None:
                raise
        except MissingError as error:
            raise _explained(error, job) from None


def create(cluster: Cluster, plan: Plan, *, replaced: Object | None) -> Taken | None:
    """The code into storage, the ConfigMap, the job, and who owns whom; an object that was made is taken back when the
    next step fails. The run, None when storage is out of reach from here."""
    job, me = plan.loaded.job, plan.loaded.job.metadata
    taken = take(job, plan.loaded.storage_url, fresh=plan.is_fresh) if plan.taken else None
    if plan.code:
        _upload(plan.code, job)
    run, attempt = (taken.run, taken.attempt) if taken else ("", 1)
    code = plan.code.sha256 if plan.code else ""
    config, pytorch_job = render(job, attempt=attempt, run=run, code=code, submitted=time.time())
    _create_config(cluster, config)
    if replaced:
        cluster.delete(JOB, me.namespace, me.name, uid=replaced["metadata"]["uid"])
    _create(cluster, config, pytorch_job)
    return taken


def _create(cluster: Cluster, config: Object, pytorch_job: Object) -> None:
    try:
        job = cluster.create(JOB, pytorch_job)
    except ClusterError:
        cluster.delete(CONFIG_MAP, config["metadata"]["namespace"], config["metadata"]["name"])
        raise
    me = job["metadata"]
    owner = {"apiVersion": job["apiVersion"], "kind": job["kind"], "name": me["name"], "uid": me["uid"]}
    cluster.patch(CONFIG_MAP, me["namespace"], config["metadata"]["name"], {"metadata": {"ownerReferences": [owner]}})


def _create_config(cluster: Cluster, config: Object) -> None:
    """Named by its content: one that is there is the same. It leaves the job that owned it, with which it would be deleted."""
    me = config["metadata"]
    try:
        cluster.create(CONFIG_MAP, config)
    except TakenError:
        try:
            cluster.patch(CONFIG_MAP, me["namespace"], me["name"], {"metadata": {"ownerReferences": None}})
        except MissingError:  # it has just been deleted
            cluster.create(CONFIG_MAP, config)


def _upload(code: Archive, job: TrainingJob) -> None:
    storage = job_storage(job)
    key = f"{names.DIR_CODE}/{code.sha256}.tar.gz"
    if storage.stat(key) is None:
        storage.put(key, code.data)


def _explained(error: MissingError, job: TrainingJob) -> MissingError:
    if f'namespaces "{job.metadata.namespace}"' in str(error):
        return MissingError(
            f"there is no namespace {job.metadata.namespace}; make it with `kubectl create namespace {job.metadata.namespace}`, "
            "or name another with --namespace"
        )
    return error
