"""Where the time of a run went, from its records. Pure.

The classes share out the wall time between the first record and the last, without gap or overlap: what lies between two
epochs was down, what lies between an epoch's start and its first step was start, and the steps that a later epoch did
again were lost.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Final

from ktrain.records import Record

CLASSES: Final = ("productive", "data", "eval", "checkpoint", "start", "lost", "down")


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


@dataclass(frozen=True, slots=True)
class Ledger:
    """Seconds by class; they add up to `wall`."""

    wall: float
    seconds: dict[str, float]


def epochs(records: Sequence[Record]) -> list[Epoch]:
    """The gang's lives in order."""
    found = [_epoch(name, list(group)) for name, group in groupby(records, _name)]
    return [_kept(epoch, found[number + 1 :]) for number, epoch in enumerate(found)]


def ledger(records: Sequence[Record]) -> Ledger:
    """The shares of the wall time."""
    seconds = dict.fromkeys(CLASSES, 0.0)
    lives = epochs(records)
    if not lives:
        return Ledger(0.0, seconds)
    by_epoch = {name: list(group) for name, group in groupby(records, _name)}
    for number, life in enumerate(lives):
        _add(seconds, _spent(life, by_epoch[life.name]))
        if number + 1 < len(lives):
            seconds["down"] += max(0.0, lives[number + 1].began - life.ended)
    return Ledger(sum(seconds.values()), seconds)


def _spent(life: Epoch, records: Sequence[Record]) -> dict[str, float]:
    """One life: measured parts first; training is what is left, shared out by the steps that lasted."""
    wall = life.ended - life.began
    stops = [record for record in records if record["kind"] in {"step", "eval", "checkpoint"}]
    first = stops[0]["time"] - _lead(stops[0], life) if stops else life.ended
    start = min(max(0.0, first - life.began), wall)
    evals = sum(record.get("seconds", 0.0) for record in records if record["kind"] == "eval")
    stalls = sum(record.get("stall_seconds", 0.0) for record in records if record["kind"] == "checkpoint")
    evals, stalls = min(evals, wall - start), min(stalls, max(0.0, wall - start - evals))
    training = max(0.0, wall - start - evals - stalls)
    steps = [record for record in records if record["kind"] == "step"]
    data = min(training, _data_seconds(steps, life))
    share_lost = _share_lost(life)
    return {
        "start": start,
        "eval": evals,
        "checkpoint": stalls,
        "lost": (training - data) * share_lost,
        "data": data,
        "productive": (training - data) * (1 - share_lost),
    }


def _lead(first: Record, life: Epoch) -> float:
    """How long before its record the first interval of steps began."""
    steps = first["step"] - life.first_step
    return float(first.get("step_seconds", 0.0)) * steps if first["kind"] == "step" else 0.0


def _data_seconds(steps: Sequence[Record], life: Epoch) -> float:
    total, before = 0.0, life.first_step
    for record in steps:
        total += float(record.get("data_seconds") or 0.0) * max(0, record["step"] - before)
        before = record["step"]
    return total


def _share_lost(life: Epoch) -> float:
    made = life.last_step - life.first_step
    return max(0, life.last_step - life.kept_step) / made if made > 0 else 0.0


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


def _add(total: dict[str, float], part: dict[str, Any]) -> None:
    for name, seconds in part.items():
        total[name] += seconds
