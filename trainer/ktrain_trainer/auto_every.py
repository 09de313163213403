"""`checkpoint.every: auto` at work: rank 0 measures what saves cost, decides after each commit, and tells."""

import time
from collections.abc import Callable, Mapping

from ktrain_trainer.cadence import FIRST_SECONDS, Risk, choose
from ktrain_trainer.toll import Toll


class AutoEvery:
    """When it is time, as of now. Rank 0's counts: all ranks hear from it in each step whether to save."""

    def __init__(self, past: tuple[int, float], *, nodes: int, clock: Callable[[], float] = time.monotonic) -> None:
        """past: failures and seconds of the gangs before this one, which has not failed."""
        self.interval = FIRST_SECONDS
        self._toll = Toll()
        self._failures, self._seconds = past
        self._nodes = nodes
        self._clock = clock
        self._born = clock()
        self._since: float | None = None

    @property
    def is_due(self) -> bool:
        """Whether the interval is over; never before the first step: building is no time to measure a save in."""
        return self._since is not None and self._clock() - self._since >= self.interval

    def step_done(self, seconds: float, *, is_saving: bool) -> None:
        """A step, and whether something was uploaded beside it."""
        self._toll.step(seconds, is_saving=is_saving)
        if self._since is None:
            self._since = self._clock()

    def began(self) -> None:
        """A save has let training go on."""
        self._since = self._clock()

    def failed(self) -> None:
        """The save that began last; the next one is tried after the same interval."""
        self._toll.dropped()

    def committed(self, *, stall: float, upload: float) -> Mapping[str, float]:
        """Decides anew; what it decided and from what, for the record of the checkpoint."""
        cost = self._toll.saved(stall=stall, upload=upload)
        risk = Risk(self._failures, self._seconds + self._clock() - self._born, self._nodes)
        choice = choose(cost=self._toll.cost, upload=self._toll.upload, risk=risk)
        self.interval = choice.interval
        return {
            "cost_seconds": cost,
            "interval_seconds": choice.interval,
            "mtbf_seconds": choice.mtbf,
            "failures": self._failures,
        }
