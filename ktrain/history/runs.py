"""The runs of a job: each one training history under a uuid, one of them current."""

import json
import re
import uuid
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from ktrain.errors import CheckpointError, Conflict, NotFound
from ktrain.history.head import read_head
from ktrain.history.model import FORMAT, Head, check_format, parse_object
from ktrain.names import KEY_RUN, KEY_SPEC
from ktrain.storage.base import Storage
from ktrain.storage.scoped import scoped

_RUN: Final = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")


@dataclass(frozen=True, slots=True)
class RunInfo:
    """One run, for lists."""

    run: str
    is_current: bool
    begun: datetime
    head: Head | None  # None until its first epoch is claimed


def is_run(name: str) -> bool:
    """Whether a folder of this name is a run's."""
    return _RUN.fullmatch(name) is not None


def current_run(job_storage: Storage) -> str | None:
    """The run that a resubmission resumes, None when the job never began."""
    found = _read_pointer(job_storage)
    return found[0] if found else None


def begin_run(job_storage: Storage, spec_document: dict[str, Any]) -> str:
    """Begins a run beside those that exist and makes it the current one; Conflict when another was begun meanwhile."""
    found = _read_pointer(job_storage)
    run = str(uuid.uuid4())
    spec = json.dumps(spec_document, indent=1, sort_keys=True, allow_nan=False).encode()
    job_storage.create(f"{run}/{KEY_SPEC}", spec + b"\n")
    # The pointer goes last: a run that it names has its spec.
    pointer = json.dumps({"format": FORMAT, "run": run}).encode() + b"\n"
    try:
        if found is None:
            job_storage.create(KEY_RUN, pointer)
        else:
            job_storage.replace(KEY_RUN, pointer, tag=found[1])
    except Conflict as error:
        job_storage.delete([f"{run}/{KEY_SPEC}"])
        raise Conflict(
            f"{job_storage.url}: another process began a run of this job just now; run again to resume it"
        ) from error
    return run


def list_runs(job_storage: Storage) -> list[RunInfo]:
    """All runs of the job, the oldest first."""
    current = current_run(job_storage)
    runs = [_info(job_storage, run, current) for run in job_storage.folders() if is_run(run)]
    return sorted((run for run in runs if run), key=lambda run: run.begun)


def _info(job_storage: Storage, run: str, current: str | None) -> RunInfo | None:
    spec = job_storage.stat(f"{run}/{KEY_SPEC}")
    if spec is None:  # being begun, or being deleted
        return None
    return RunInfo(run, run == current, spec.modified, read_head(scoped(job_storage, run)))


def _read_pointer(job_storage: Storage) -> tuple[str, str] | None:
    try:
        data, tag = job_storage.get(KEY_RUN)
    except NotFound:
        return None
    where = f"{job_storage.url}/{KEY_RUN}"
    document = parse_object(data, where)
    check_format(document, where)
    run = document.get("run")
    if not isinstance(run, str) or not is_run(run):
        raise CheckpointError(f"{where} is damaged: its run is {run!r}, expected a uuid")
    return run, tag
