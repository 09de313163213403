"""Which rank the others wait for: what each did per step between two beats of its job. Pure."""

from dataclasses import dataclass, replace
from statistics import median_low
from typing import Final

from ktrain_controller.beat import Beat, RankPace

FEW_STEPS: Final = 20  # fewer are chance; and before so many, ranks compile and warm up
TIMES: Final = 1.5  # as long as the median rank
SHARE: Final = 0.25  # of everybody's step; what is less may well be hidden behind kernels that run meanwhile
FLOOR_SECONDS: Final = 0.005  # per step; less is not worth a word


@dataclass(frozen=True, slots=True)
class Work:
    """One rank's, in seconds per step."""

    rank: int
    node: int
    busy: float  # whatever is not waiting for peers
    data: float  # of that, waiting for data
    idle: float  # waiting for peers


def earlier(known: Beat | None, last: Beat | None, new: Beat, seconds: float) -> Beat | None:
    """The beat that `new` is to be compared with; windows follow one another. None: nothing can be compared yet."""
    if known is None or not _is_same_gang(known, new):
        return _slim(new) if _is_warm(new) else None
    return _slim(last) if last is not None and is_window(known, last, seconds) else known


def is_window(old: Beat, new: Beat, seconds: float) -> bool:
    """Whether enough lies between the two, of the same ranks."""
    if new.heard_at - old.heard_at < seconds or not _is_same_gang(old, new):
        return False
    return all(after.steps - before.steps >= FEW_STEPS for before, after in zip(old.pace, new.pace, strict=True))


def works(old: Beat, new: Beat) -> tuple[Work, ...]:
    """Of all ranks, in a window."""
    return tuple(_work(before, after) for before, after in zip(old.pace, new.pace, strict=True))


def usual(found: tuple[Work, ...]) -> float:
    """Seconds that the median rank is busy; of two ranks, or two halves, the quicker: the other one is looked for."""
    return median_low(it.busy for it in found)


def stragglers(found: tuple[Work, ...]) -> tuple[Work, ...]:
    """Ranks that the others wait for, the slowest first."""
    normal = usual(found)
    slow = (it for it in found if it.busy > TIMES * normal and _is_felt(it, it.busy - normal))
    return tuple(sorted(slow, key=lambda it: (-it.busy, it.rank)))


def _is_felt(work: Work, excess: float) -> bool:
    return excess > FLOOR_SECONDS and excess > SHARE * (work.busy + work.idle)


def _work(before: RankPace, after: RankPace) -> Work:
    """Whatever the sums say: no length of time is negative, and no part larger than the whole."""
    steps = after.steps - before.steps
    whole = max(0.0, after.step_seconds - before.step_seconds) / steps
    idle = min(whole, max(0.0, after.peer_wait_seconds - before.peer_wait_seconds) / steps)
    data = min(whole - idle, max(0.0, after.data_wait_seconds - before.data_wait_seconds) / steps)
    return Work(after.rank, after.node, whole - idle, data, idle)


def _is_same_gang(old: Beat, new: Beat) -> bool:
    """Whether both tell of the same processes, and of all of them."""
    same = (old.attempt, old.epoch, old.world_size) == (new.attempt, new.epoch, new.world_size)
    return same and _is_whole(old) and _is_whole(new)


def _is_whole(beat: Beat) -> bool:
    return beat.world_size > 1 and [it.rank for it in beat.pace] == list(range(beat.world_size))


def _is_warm(beat: Beat) -> bool:
    return _is_whole(beat) and all(it.steps >= FEW_STEPS for it in beat.pace)


def _slim(beat: Beat) -> Beat:
    """Jobs are many: only what is compared is kept."""
    return replace(beat, ranks=(), note="")
