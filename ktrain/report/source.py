"""What a report tells, read from the run's storage."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ktrain import names
from ktrain.errors import NotFound
from ktrain.history import Head, read_head
from ktrain.named import NoRunError, find_run
from ktrain.records import Records, read_records


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
    run_storage, run = find_run(source, sets)
    try:
        spec = json.loads(run_storage.get(names.KEY_SPEC)[0])
    except NotFound:
        raise NoRunError(f"{run_storage.url} is no run; name a job file, a job's folder or a run's folder") from None
    name = spec.get("metadata", {}).get("name", "run")
    return Told(f"{name} · run {run[:8]}", run_storage.url, read_records(run_storage), read_head(run_storage), spec)
