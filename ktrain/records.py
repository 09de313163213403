"""What a run wrote down about itself, as one history: what a later epoch did again replaces what was lost."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ktrain import names
from ktrain.storage import Storage

Record = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Records:
    """All records in the order of their epochs, and how many lines could not be read."""

    all: tuple[Record, ...]
    unreadable: int

    @property
    def lasting(self) -> tuple[Record, ...]:
        """Without the steps and evaluations that a later epoch did again."""
        return tuple(lasting(self.all))

    def of(self, kind: str) -> list[Record]:
        """The lasting ones of a kind: start, step, eval, grads, checkpoint, stop, end, error."""
        return [record for record in self.lasting if record["kind"] == kind]


def read_records(run_storage: Storage, *, last: int | None = None) -> Records:
    """Every segment of the run, or its last ones; a torn or foreign line is counted and passed over."""
    records: list[Record] = []
    unreadable = 0
    segments = sorted(run_storage.list(f"{names.DIR_METRICS}/"), key=lambda stat: stat.key)
    for stat in segments[-last:] if last else segments:
        for line in run_storage.get(stat.key)[0].splitlines():
            record = _parse(line)
            if record is None:
                unreadable += 1
            else:
                records.append(record)
    return Records(tuple(records), unreadable)


def lasting(records: Sequence[Record]) -> Iterable[Record]:
    """Drops steps and evaluations beyond the step that a later epoch was restored to."""
    cut = float("inf")
    kept: list[Record] = []
    for record in reversed(records):
        if record["kind"] not in {"step", "eval", "grads"} or record["step"] <= cut:
            kept.append(record)
        if record["kind"] == "start":
            cut = min(cut, record.get("restored_step", 0))
    return reversed(kept)


def _parse(line: bytes) -> Record | None:
    try:
        record = json.loads(line)
    except ValueError:
        return None
    has_stamp = isinstance(record, dict) and isinstance(record.get("kind"), str) and isinstance(record.get("step"), int)
    return record if has_stamp and isinstance(record.get("time"), int | float) else None
