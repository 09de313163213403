"""What a submission will do; only looks."""

import os
from collections.abc import MutableMapping
from dataclasses import dataclass

from ktrain.cluster import Cluster
from ktrain.errors import Conflict, SpecError, StorageError, TakenError
from ktrain.history import job_storage
from ktrain.jobs.reach import borrow_credentials
from ktrain.load import Loaded
from ktrain.spec import TrainingJob
from ktrain.storage import scoped
from ktrain.submit import budget
from ktrain.submit.pack import Archive, pack
from ktrain.taken import Taken, look


@dataclass(frozen=True, slots=True)
class Plan:
    """The job, its code, and its run."""

    loaded: Loaded
    code: Archive | None
    taken: Taken | None  # None: storage is out of reach from here, and the launcher finds the run
    is_fresh: bool
    notes: tuple[str, ...]


def plan(loaded: Loaded, cluster: Cluster, *, fresh: bool, environ: MutableMapping[str, str] = os.environ) -> Plan:
    """Which run and which code. SpecError, ClusterError, StorageError."""
    job = loaded.job
    check_storage(job)
    code = pack(loaded.code_dir, job.spec.code.exclude) if job.spec.code else None
    notes = list(borrow_credentials(cluster, job, environ))
    try:
        taken: Taken | None = look(job, loaded.storage_url, fresh=fresh)
    except StorageError as error:
        if code is not None or fresh or isinstance(error, Conflict):
            raise
        notes.append(f"storage is not reached from here ({error}); the launcher finds the run by itself")
        taken = None
    if taken and taken.is_done:
        raise TakenError(
            f"run {taken.run[:8]} of this job is done, at step {taken.step}; raise spec.trainer.duration to train on, "
            "or begin a new run with --fresh"
        )
    return Plan(loaded, code, taken, fresh, (*notes, *(taken.warnings if taken else ()), *_budget(job, taken)))


def _budget(job: TrainingJob, taken: Taken | None) -> tuple[str, ...]:
    if not (taken and taken.run):
        return ()
    try:
        found = budget.warning(job, scoped(job_storage(job), taken.run))
    except StorageError:  # it is only told, never relied on
        return ()
    return (found,) if found else ()


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
