"""What a checkpoint truly costs training: the time that it stands still, and by how much steps are slower meanwhile."""

from collections import deque
from statistics import fmean, median
from typing import Final

_STEPS: Final = 200  # between saves: what a step takes when nothing is uploaded
_SAVES: Final = 5  # the first one also pays for its buffers: the median forgets it


class Toll:
    """Of one rank, which feels what the others pay: they meet in each step."""

    def __init__(self) -> None:
        self._idle: deque[float] = deque(maxlen=_STEPS)
        self._during: list[float] = []
        self._has_begun = False
        self._costs: deque[float] = deque(maxlen=_SAVES)
        self._uploads: deque[float] = deque(maxlen=_SAVES)

    def step(self, seconds: float, *, is_saving: bool) -> None:
        """A step has ended; the first of a process counts for nothing: it warms up."""
        if is_saving:
            self._during.append(seconds)
        elif self._has_begun:
            self._idle.append(seconds)
        self._has_begun = True

    def dropped(self) -> None:
        """A save has failed: how long it was tried says nothing about one that succeeds."""
        self._during.clear()

    def saved(self, *, stall: float, upload: float) -> float:
        """A save is committed; what it cost, in seconds."""
        usual = fmean(self._idle) if self._idle else None
        slower = sum(it - usual for it in self._during) if usual is not None else 0.0
        self._during.clear()
        cost = stall + max(0.0, slower)
        self._costs.append(cost)
        self._uploads.append(upload)
        return cost

    @property
    def cost(self) -> float:
        """Of a usual save."""
        return median(self._costs)

    @property
    def upload(self) -> float:
        """Until a usual save is durable."""
        return median(self._uploads)
