"""When a gang that makes no step counts as hung."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final, Literal

from ktrain.snapshot import STEP_BUCKETS, Phase, Snapshot

FLOOR: Final = timedelta(seconds=60)
TIMES: Final = 20  # so many slow steps in a row are no slow step
FEW_STEPS: Final = 10
UNSURE: Final = timedelta(minutes=10)  # before there are enough steps to know what is usual
LONG: Final = timedelta(minutes=30)  # start, restore, evaluation, a checkpoint: known to take long


@dataclass(slots=True)
class _Seen:
    phase: Phase
    step: int
    since: float


class Watch:
    """Remembers when each rank last moved; times are monotonic seconds."""

    def __init__(self, timeout: timedelta | Literal["auto"]) -> None:
        self._timeout = timeout
        self._seen: dict[int, _Seen] = {}

    def reset(self) -> None:
        """New ranks: nothing is known."""
        self._seen.clear()

    def hear(self, snapshot: Snapshot, now: float) -> None:
        """A rank has spoken; a step or another phase is a move, and outside of steps any word is."""
        before = self._seen.get(snapshot.rank)
        is_move = (
            before is None
            or (before.step, before.phase) != (snapshot.step, snapshot.phase)
            or not _is_stepping(snapshot)
        )
        if is_move:
            self._seen[snapshot.rank] = _Seen(snapshot.phase, snapshot.step, now)

    def hung(self, snapshots: dict[int, Snapshot], now: float) -> tuple[int, timedelta] | None:
        """The rank that stands still for longest beyond its limit, and that limit."""
        late = [
            (now - seen.since - limit.total_seconds(), rank, limit)
            for rank, seen in list(self._seen.items())  # snapshots come in another thread
            if rank in snapshots
            for limit in [self.limit(snapshots[rank])]
        ]
        worst = max(late, default=None)
        return (worst[1], worst[2]) if worst and worst[0] > 0 else None

    def limit(self, snapshot: Snapshot) -> timedelta:
        """How long this rank may stand still in its phase."""
        chosen = self._timeout
        if not _is_stepping(snapshot):
            return LONG if chosen == "auto" else max(LONG, 10 * chosen)
        if chosen != "auto":
            return chosen
        return _usual(snapshot)


def _is_stepping(snapshot: Snapshot) -> bool:
    """Whether steps are due; waiting for data is part of a step, but not before the first one."""
    return snapshot.phase == "train" or (snapshot.phase == "data" and any(snapshot.step_counts))


def _usual(snapshot: Snapshot) -> timedelta:
    steps = sum(snapshot.step_counts)
    if steps == 0:
        return LONG  # compilation and first batches
    mean = timedelta(seconds=snapshot.step_seconds_sum / steps)
    if steps < FEW_STEPS:
        return max(UNSURE, TIMES * mean)
    return max(FLOOR, TIMES * max(mean, _slow_step(snapshot.step_counts, steps)))


def _slow_step(counts: list[int], steps: int) -> timedelta:
    """The 99th percentile, as the upper bound of its bucket; the open bucket counts as twice the last bound."""
    below = 0
    for bound, count in zip((*STEP_BUCKETS, 2 * STEP_BUCKETS[-1]), counts, strict=True):
        below += count
        if below * 100 >= steps * 99:
            return timedelta(seconds=bound)
    return timedelta(seconds=2 * STEP_BUCKETS[-1])
