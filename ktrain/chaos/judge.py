"""Whether a run that went through faults is what it would have been without them. Pure."""

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from ktrain.chaos.trace import Kind, Struck
from ktrain.local.verdict import Verdict
from ktrain.records import Record, Records
from ktrain.spec import TrainingJob
from ktrain.units import counted

SHOWN: Final = 3
ROUNDING: Final = 1e-3
IN_PLACE: Final = (Kind.RANK_KILL, Kind.FREEZE)


@dataclass(frozen=True, slots=True)
class Recovery:
    """After one fault that cost the ranks an epoch. seconds: until the first new step; lost: steps done again."""

    kind: Kind
    seconds: float
    lost: int | None
    parts: tuple[tuple[str, float], ...] = ()  # of the seconds, by whose they are, where that can be seen


def recoveries(struck: Sequence[Struck], records: Records) -> list[Recovery]:
    """Of each epoch that faults have cost: of the last of them, and what is lost is known where it was alone."""
    starts = _starts(records)
    found = []
    for before, start in pairwise(starts):
        faults = [it for it in struck if before["time"] < it.at < start["time"]]
        if not faults:
            continue
        last = faults[-1]
        step = next((it for it in records.all if it["kind"] == "step" and it["time"] >= start["time"]), start)
        is_known = len(faults) == 1 and last.step is not None
        lost = max(0, (last.step or 0) - start["restored_step"]) if is_known else None
        found.append(Recovery(last.fault.kind, step["time"] - last.at, lost))
    return found


def never_older(struck: Sequence[Struck], records: Records) -> Verdict:
    """No epoch began from anything older than what was committed before."""
    starts = _starts(records)
    after = [(it.committed, next((later for later in starts if later["time"] > it.at), None)) for it in struck]
    pairs = [(had, later["restored_step"]) for had, later in after if later and had is not None]
    return resumes(pairs, restarts=max(0, len(starts) - 1))


def resumes(pairs: Iterable[tuple[int, int]], *, restarts: int) -> Verdict:
    """pairs: what was committed at a fault, and what was restored after it."""
    wrong = [f"step {had} was committed, and step {got} restored" for had, got in pairs if got < had]
    told = f"{counted(restarts, 'restart')}, each from the newest commit or a newer copy in memory"
    return Verdict("resumes", not wrong, "; ".join(wrong[:SHOWN]) or told)


def loses(found: Sequence[Recovery], *, memory_every: int | None) -> Verdict:
    """What a notice, or memory, must save."""
    limits: dict[Kind, int] = {Kind.PREEMPT: 0}
    if memory_every is not None:
        limits |= dict.fromkeys(IN_PLACE, memory_every)
    over = [
        f"{it.kind} cost {counted(it.lost, 'step')}, {limits[it.kind]} allowed"
        for it in found
        if it.lost is not None and it.lost > limits.get(it.kind, it.lost)
    ]
    worst: dict[Kind, int] = {}
    for it in found:
        worst[it.kind] = max(worst.get(it.kind, 0), it.lost or 0)
    told = ", ".join(f"{kind} {counted(steps, 'step')}" for kind, steps in worst.items())
    return Verdict("loses", not over, "; ".join(over[:SHOWN]) or f"at most: {told or 'nothing'}")


def same_curve(records: Records, twin: Records, *, is_exact: bool) -> Verdict:
    """Each step's loss: every sample once, in its order, with its random numbers. Bit for bit, or but for rounding."""
    ours, theirs = _losses(records.of("step")), _losses(twin.of("step"))
    both = sorted(ours.keys() & theirs.keys())
    other = next((it for it in both if not _are_same(ours[it], theirs[it], is_exact=is_exact)), None)
    if other is not None:
        told = f"from step {other} on: loss {ours[other]!r}, undisturbed {theirs[other]!r}"
        return Verdict("curve", ok=False, told=told)
    how = "bit for bit" if is_exact else f"to {ROUNDING:.0e} of it, as the number of ranks changed"
    return Verdict("curve", bool(both), f"{counted(len(both), 'step')} with the undisturbed run's loss, {how}")


def same_state(digest: str | None, twin: str | None) -> Verdict:
    """Every tensor of the last checkpoint."""
    if digest is None or twin is None:
        return Verdict("state", ok=False, told="there is no checkpoint to compare")
    told = (
        "every tensor of the last checkpoint is the undisturbed run's"
        if digest == twin
        else "the last checkpoints differ"
    )
    return Verdict("state", digest == twin, told)


def memory_every(job: TrainingJob) -> int | None:
    """How often memory has a copy, in steps; None where nothing is copied between checkpoints, or by the clock."""
    every = (job.spec.trainer.checkpoint.memory_every if job.spec.trainer else None) or ()
    return min((int(it.value) for it in every if it.unit == "step"), default=None)


def recovers(found: Sequence[Recovery]) -> Verdict:
    """How long until the next step, by kind; told, and never failed."""
    seconds: dict[Kind, list[float]] = {}
    for it in found:
        seconds.setdefault(it.kind, []).append(it.seconds)
    told = [f"{kind} {statistics.median(all_):.1f} s (worst {max(all_):.1f})" for kind, all_ in seconds.items()]
    return Verdict("recovers", None if not told else True, ", ".join(told) or "no fault cost the ranks an epoch")


def _starts(records: Records) -> list[Record]:
    return [it for it in records.all if it["kind"] == "start"]


def _are_same(one: float | None, other: float | None, *, is_exact: bool) -> bool:
    if one is None or other is None or is_exact:
        return repr(one) == repr(other)  # NaN is NaN
    return math.isclose(one, other, rel_tol=ROUNDING, abs_tol=ROUNDING)


def _losses(records: Sequence[Record]) -> Mapping[int, float | None]:
    return {record["step"]: record.get("loss") for record in records}
