"""Orders of the samples other than a shuffled one, each a pure function of seed and position in the stream."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from ktrain_trainer import rng
from ktrain_trainer.plan import Indices, Order, Permutation, epochs, fractions

Numbers = npt.NDArray[np.float64]
_PERIOD: Final = 1000  # positions in which a mixture has its proportion to a thousandth


@dataclass(frozen=True)
class Weighted:
    """Drawn with replacement, each sample as often as its weight says. cumulative: running sum of the weights."""

    cumulative: Numbers
    seed: int

    def __call__(self, positions: Indices) -> Indices:
        """Each draw is keyed by (seed, epoch, position)."""
        found = [
            np.searchsorted(
                self.cumulative,
                fractions(rng.key(self.seed, rng.WEIGHTED, epoch), offsets) * self.cumulative[-1],
                side="right",
            )
            for epoch, offsets in epochs(positions, len(self.cumulative))
        ]
        drawn: Indices = np.minimum(np.concatenate(found), len(self.cumulative) - 1).astype(np.int64)
        return drawn


@dataclass(frozen=True)
class Curriculum:
    """Drawn from the easiest part, which grows over `over` positions; once it is whole, each epoch has each sample once."""

    easiest_first: Indices
    start: float
    end: float
    over: int
    is_sqrt: bool
    seed: int

    def __call__(self, positions: Indices) -> Indices:
        """While the part grows, draws are with replacement."""
        n = len(self.easiest_first)
        begun = np.minimum(positions / self.over, 1.0)
        part = self.start + (self.end - self.start) * (np.sqrt(begun) if self.is_sqrt else begun)
        pool = np.clip(np.ceil(part * n - 1e-9), 1, n)
        drawn = np.minimum((fractions(rng.key(self.seed, rng.CURRICULUM), positions) * pool).astype(np.int64), n - 1)
        # From the first whole epoch on: one that has begun with draws goes on with them.
        whole = positions >= -(-self.over // n) * n if self.end == 1.0 else np.zeros(len(positions), bool)
        if whole.any():
            shuffled = [
                Permutation(n, rng.key(self.seed, rng.ORDER, epoch))(offsets)
                for epoch, offsets in epochs(positions[whole], n)
            ]
            drawn[whole] = np.concatenate(shuffled)
        samples: Indices = self.easiest_first[drawn]
        return samples


@dataclass(frozen=True)
class Bucket:
    """Shuffled, then sorted by length inside windows of micro-batches, whose order is shuffled again.

    Each epoch has each sample once. Micro-batches are cut where the run cuts them, also when an epoch ends inside one.
    """

    lengths: Numbers
    micro: int
    window: int
    seed: int

    def __call__(self, positions: Indices) -> Indices:
        """Whole windows are computed, and the part that was asked for is cut out."""
        found = [self._epoch(epoch, int(at[0]), int(at[-1]) + 1) for epoch, at in epochs(positions, len(self.lengths))]
        return np.concatenate(found)

    def _epoch(self, epoch: int, begin: int, end: int) -> Indices:
        shuffled = Permutation(len(self.lengths), rng.key(self.seed, rng.ORDER, epoch))
        pieces = []
        for number, (low, high) in self._windows(epoch, begin, end):
            samples = shuffled(np.arange(low, high, dtype=np.int64))
            ordered = self._sorted(samples, rng.key(self.seed, rng.BUCKET, epoch, number)) if number else samples
            pieces.append(ordered[max(begin - low, 0) : end - low])
        return np.concatenate(pieces)

    def _windows(self, epoch: int, begin: int, end: int) -> Iterator[tuple[int, tuple[int, int]]]:
        """(number, [low, high)) of the windows that touch [begin, end); number 0 ends a micro-batch of the epoch before."""
        n, size = len(self.lengths), self.window * self.micro
        head = min(-epoch * n % self.micro, n)
        if begin < head:
            yield 0, (0, head)
        first = max(begin - head, 0) // size
        for number in range(first, -(-max(end - head, 0) // size)):
            low = head + number * size
            yield number + 1, (low, min(low + size, n))

    def _sorted(self, samples: Indices, key: int) -> Indices:
        samples = samples[np.argsort(self.lengths[samples], kind="stable")]
        whole = len(samples) // self.micro
        if not whole:
            return samples
        micros = samples[: whole * self.micro].reshape(whole, self.micro)
        mixed = micros[Permutation(whole, key)(np.arange(whole, dtype=np.int64))]
        return np.concatenate([mixed.ravel(), samples[whole * self.micro :]])


class Mix:
    """Several datasets, one behind the other in one range of numbers, in a fixed proportion.

    In each period of 1000 slots every dataset has its fixed number of them, in a keyed order; a slot is `width` positions.
    """

    def __init__(self, sizes: list[int], weights: list[float], *, width: int, seed: int) -> None:
        self._sizes = sizes
        self._first = np.cumsum([0, *sizes[:-1]])
        self._slots = _apportion(np.array(weights), _PERIOD)
        self._pattern = np.repeat(np.arange(len(sizes)), self._slots)
        self._width = width
        self._seed = seed

    def __call__(self, positions: Indices) -> Indices:
        """The dataset follows from the slot, the sample from how many of its slots came before."""
        slots, inside = np.divmod(positions, self._width)
        periods = {int(it): self._period(int(it)) for it in np.unique(slots // _PERIOD)}
        chosen, before = (
            np.concatenate(
                [periods[int(period)][part][slots[slots // _PERIOD == period] % _PERIOD] for period in periods]
            )
            for part in (0, 1)
        )
        nth = ((slots // _PERIOD) * self._slots[chosen] + before) * self._width + inside
        found = np.empty_like(positions)
        for number, size in enumerate(self._sizes):
            own = chosen == number
            found[own] = self._first[number] + self._shuffled(number, nth[own], size)
        return found

    def _period(self, period: int) -> tuple[Indices, Indices]:
        """Of each slot of the period: its dataset, and how many slots of that dataset come before it."""
        key = rng.key(self._seed, rng.MIX, period)
        chosen = self._pattern[Permutation(_PERIOD, key)(np.arange(_PERIOD, dtype=np.int64))]
        before = np.empty(_PERIOD, np.int64)
        for number, many in enumerate(self._slots):
            before[chosen == number] = np.arange(many)
        return chosen, before

    def _shuffled(self, number: int, nth: Indices, size: int) -> Indices:
        found = np.empty_like(nth)
        for epoch in np.unique(nth // size):
            own = nth // size == epoch
            order = Permutation(size, rng.key(self._seed, rng.MIX, number, int(epoch), 1))
            found[own] = order(nth[own] % size)
        return found


def _apportion(weights: Numbers, slots: int) -> Indices:
    """Slots by weight, by largest remainder; each dataset gets at least one."""
    exact = weights / weights.sum() * slots
    whole: Indices = np.maximum(np.floor(exact), 1).astype(np.int64)
    while (missing := slots - whole.sum()) != 0:
        at = np.argmax(exact - whole) if missing > 0 else np.argmax(whole - exact - (whole <= 1) * slots)
        whole[at] += 1 if missing > 0 else -1
    return whole


ORDERS: Final[Mapping[str, type[Order]]] = {
    "weighted": Weighted,
    "curriculum": Curriculum,
    "bucket": Bucket,
    "mix": Mix,
}
"""Every order by the key of the job file that asks for it; each has a case in the tests of exactness."""
