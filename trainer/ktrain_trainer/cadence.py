"""How long between two checkpoints: from what one costs, and from how often the gang fails. Pure."""

import math
from dataclasses import dataclass
from typing import Final

FIRST_SECONDS: Final = 10.0
"""From the first step of a gang to its first save, which measures what one costs."""

LEAST_SECONDS: Final = 5.0
MOST_SECONDS: Final = 3600.0
LEAST_COSTS: Final = 10.0  # times the cost: a tenth of the time, at most, goes into saving
MOST_COSTS: Final = 200.0
"""Half a hundredth of the time may always go into saving: so little insures against failures that nobody has foreseen."""

PRIOR_SECONDS: Final = 86400.0
PRIOR_FAILURES: Final = 0.1
"""One failure in a day of one node is assumed until a run has failures of its own. The rates of jobs differ by orders of
magnitude, so that a tenth of one failure's weight is all that this has: the first failure seen says more."""


@dataclass(frozen=True, slots=True)
class Risk:
    """What was seen of a gang's failures."""

    failures: int = 0
    seconds: float = 0.0  # for how long it trained
    nodes: int = 1

    @property
    def mtbf(self) -> float:
        """Seconds between two failures, by the mean rate under a Gamma prior."""
        seen = PRIOR_FAILURES * PRIOR_SECONDS + self.seconds * self.nodes
        return seen / (PRIOR_FAILURES + self.failures) / self.nodes


@dataclass(frozen=True, slots=True)
class Choice:
    """A decision, and what it was made of; all in seconds."""

    interval: float
    cost: float
    upload: float
    mtbf: float


def choose(*, cost: float, upload: float, risk: Risk) -> Choice:
    """The interval between the end of one save and the begin of the next.

    Least: ten costs, and the time that an upload takes. Where that is more than an hour it counts for more than the hour.
    Most: two hundred costs.
    """
    least = max(LEAST_SECONDS, LEAST_COSTS * cost, upload)
    wanted = min(optimum(cost, risk.mtbf), MOST_COSTS * cost, MOST_SECONDS)
    return Choice(max(least, wanted), cost, upload, risk.mtbf)


def young(cost: float, mtbf: float) -> float:
    """J. W. Young, A first order approximation to the optimum checkpoint interval, CACM 17 (1974)."""
    return math.sqrt(2 * cost * mtbf)


def optimum(cost: float, mtbf: float) -> float:
    """J. T. Daly, A higher order estimate of the optimum checkpoint interval for restart dumps, FGCS 22 (2006).

    Young's where a failure is rare; where it is as frequent as a save is long, saving more often would only cost more.
    """
    if cost >= 2 * mtbf:
        return mtbf
    share = cost / (2 * mtbf)
    return young(cost, mtbf) * (1 + math.sqrt(share) / 3 + share / 9) - cost
