"""The lives of a run's gang, from its records. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby

from ktrain.records import Record


@dataclass(frozen=True, slots=True)
class Epoch:
    """One life of the gang, from its first record to its last."""

    name: str
    began: float
    ended: float
    first_step: int
    last_step: int
    kept_step: int  # how far its work lasted: what lies beyond was done again
    world_size: int
    end: str  # "end", "stop", "error", or "" when it was cut off


def epochs(records: Sequence[Record]) -> list[Epoch]:
    """The gang's lives in order."""
    found = [_epoch(name, list(group)) for name, group in groupby(records, _name)]
    return [_kept(epoch, found[number + 1 :]) for number, epoch in enumerate(found)]


def _epoch(name: str, records: list[Record]) -> Epoch:
    starts = [record for record in records if record["kind"] == "start"]
    ends = [record["kind"] for record in records if record["kind"] in {"end", "stop", "error"}]
    first = starts[-1].get("restored_step", 0) if starts else records[0]["step"]
    last = max([record["step"] for record in records if record["kind"] != "checkpoint"], default=first)
    return Epoch(
        name, records[0]["time"], max(record["time"] for record in records), first, max(first, last), max(first, last),
        starts[-1].get("world_size", 0) if starts else 0, ends[-1] if ends else "",
    )  # fmt: skip


def _kept(epoch: Epoch, later: Sequence[Epoch]) -> Epoch:
    kept = min([epoch.last_step, *(it.first_step for it in later)])
    return Epoch(
        epoch.name, epoch.began, epoch.ended, epoch.first_step, epoch.last_step, max(kept, epoch.first_step),
        epoch.world_size, epoch.end,
    )  # fmt: skip


def _name(record: Record) -> str:
    return f"a{record.get('attempt', 0):04d}-e{record.get('epoch', 0):04d}"
