"""All jobs that have worked on a run, as one sum; and what it cost."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ktrain.goodput.account import BADPUT, PRODUCTIVE, Account


@dataclass(frozen=True, slots=True)
class Total:
    """Seconds by reason; with `productive` and `pending` they make up `wall`."""

    wall: float
    seconds: Mapping[str, float]
    pending: float

    @property
    def productive(self) -> float:
        """Seconds in steps that a checkpoint holds."""
        return self.seconds[PRODUCTIVE]

    @property
    def ratio(self) -> float | None:
        """Productive share of what is decided, 0 to 1; None before anything is."""
        decided = self.wall - self.pending
        return self.productive / decided if decided > 0 else None

    @property
    def badput(self) -> dict[str, float]:
        """What was lost, the most first; reasons without any are left out."""
        lost = [(it, self.seconds[it]) for it in BADPUT if self.seconds[it] > 0]
        return dict(sorted(lost, key=lambda pair: -pair[1]))


def total(found: Iterable[Account]) -> Total:
    """Their sum."""
    them = list(found)
    seconds = {name: sum(it.seconds.get(name, 0.0) for it in them) for name in (PRODUCTIVE, *BADPUT)}
    pending = sum(it.pending.seconds for it in them)
    return Total(sum(seconds.values()) + pending, seconds, pending)
