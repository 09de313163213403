"""What a report tells, read from the run's storage."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ktrain import names
from ktrain.errors import NotFound
from ktrain.goodput import accounts, total, until_death
from ktrain.goodput.tell import Spent
from ktrain.history import Head, read_head
from ktrain.named import NoRunError, find_run
from ktrain.records import Records, read_records
from ktrain.storage import Storage
from ktrain.units import count_gpus


@dataclass(frozen=True, slots=True)
class Told:
    """Everything that a report tells."""

    title: str
    url: str
    records: Records
    head: Head | None
    spec: dict[str, Any]
    spent: Spent  # by all jobs that have worked on the run, as far as it is known


def read(source: str, sets: Sequence[str] = ()) -> Told:
    """SpecError or NotFound when there is no such run; `sets` change a job file as they did for the run."""
    run_storage, run = find_run(source, sets)
    try:
        spec = json.loads(run_storage.get(names.KEY_SPEC)[0])
    except NotFound:
        raise NoRunError(f"{run_storage.url} is no run; name a job file, a job's folder or a run's folder") from None
    name = spec.get("metadata", {}).get("name", "run")
    title, head = f"{name} · run {run[:8]}", read_head(run_storage)
    return Told(title, run_storage.url, read_records(run_storage), head, spec, _spent(run_storage, head, spec))


def _spent(run_storage: Storage, head: Head | None, spec: Mapping[str, Any]) -> Spent:
    found = [until_death(run_storage, it) for it in accounts(run_storage)]
    is_done = bool(head and head.done)
    time = total(it.settle(is_done=True) if is_done else it for it in found)
    resolved = spec.get("spec", {})
    nodes = resolved.get("nodes") or 1
    return Spent(time, count_gpus(resolved.get("resources", {})) * (nodes if isinstance(nodes, int) else nodes["max"]))
