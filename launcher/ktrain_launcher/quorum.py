"""Which nodes make a round: all of them at once, of an elastic job fewer when nobody else is near. Pure."""

from collections.abc import Set
from dataclasses import dataclass
from typing import Final

FIRST_SECONDS: Final = 30.0
"""Pods of a new job come one after the other; to begin with the first of them would cost a restart for each of the rest.
And so long whoever is there is waited for that has not entered."""

SETTLE_SECONDS: Final = 0.5
"""Who trained together a moment ago is here at once, or gone."""

LONGEST_DELAY: Final = 60.0


@dataclass(frozen=True, slots=True)
class Quorum:
    """How many nodes a round may have, and how many are expected to come when the job begins."""

    fewest: int
    most: int
    expected: int

    def is_met(self, entered: Set[int], here: Set[int], *, quiet: float, is_first: bool) -> bool:
        """Whether the round can begin with those that have entered it. here: the nodes whose launchers are there at all.

        quiet: seconds without a change of either. is_first: of this table, so that nobody knows yet who will come.
        """
        if len(entered) >= self.most:
            return True
        if len(entered) < self.fewest:
            return False
        is_near = bool(here - entered)  # whoever still ends its ranks, or begins, comes soon, or is stuck
        if is_first and not is_near and len(entered) >= self.expected:
            return True
        return quiet >= (FIRST_SECONDS if is_first or is_near else SETTLE_SECONDS)


def delay(deaths: int) -> float:
    """Seconds before a node that comes late makes the others stop for it: one that keeps dying waits longer and longer."""
    return min(LONGEST_DELAY, 2.0 ** min(deaths, 6))
