"""Which run a report is about: a job file's current one, or the run or job folder that is named."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ktrain import names
from ktrain.errors import NotFound, SpecError
from ktrain.history import Head, current_run, is_run, job_storage, read_head
from ktrain.load import load_job
from ktrain.records import Records, read_records
from ktrain.storage import Storage, open_storage, scoped


@dataclass(frozen=True, slots=True)
class Told:
    """Everything that a report tells."""

    title: str
    url: str
    records: Records
    head: Head | None
    spec: dict[str, Any]


def read(source: str, sets: Sequence[str] = ()) -> Told:
    """SpecError or NotFound when there is no such run; `sets` change a job file as they did for the run."""
    storage, run = _find(source, sets)
    run_storage = scoped(storage, run) if run else storage
    try:
        spec = json.loads(run_storage.get(names.KEY_SPEC)[0])
    except NotFound:
        raise _NoRunError(f"{run_storage.url} is no run; name a job file, a job's folder or a run's folder") from None
    name = spec.get("metadata", {}).get("name", "run")
    run = run or run_storage.url.rsplit("/", 1)[-1]
    return Told(f"{name} · run {run[:8]}", run_storage.url, read_records(run_storage), read_head(run_storage), spec)


def _find(source: str, sets: Sequence[str]) -> tuple[Storage, str]:
    if "://" not in source and Path(source).is_file():
        loaded = load_job(Path(source), sets)
        storage = job_storage(loaded.job, loaded.storage_url)
    else:
        storage = open_storage(source)
        if is_run(source.rstrip("/").rsplit("/", 1)[-1]):
            return storage, ""
    run = current_run(storage)
    if run is None:
        raise _NoRunError(f"{storage.url} has no run yet; `ktrain run` begins one")
    return storage, run


class _NoRunError(SpecError):
    cli_exit = NotFound.cli_exit
