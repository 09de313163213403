"""Which samples make up which micro-batch: a function of seed and position that knows nothing of ranks.

Training walks one endless stream of positions: epoch 0's order, then epoch 1's, and so on. A step takes the next
`global` positions, cuts them into micro-batches, and rank r of W computes micro-batches r, r+W, r+2W, … So progress is
one integer, and any number of ranks sees the same batches.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
import numpy.typing as npt

from ktrain_trainer import rng

Indices = npt.NDArray[np.int64]
_BLOCK: Final = 1 << 14
_ROUNDS: Final = 6


@dataclass(frozen=True, slots=True)
class Micro:
    """One micro-batch of a step: its number in the step, where it begins in the stream, and its samples."""

    index: int
    position: int
    samples: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Permutation:
    """A keyed order of range(n) that needs no memory: a Feistel network, walked until it falls inside the range.

    Ours and not torch.randperm: a library upgrade must never reorder an epoch.
    """

    n: int
    key: int
    _half: int = field(init=False)
    _keys: tuple[np.uint64, ...] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_half", max(1, ((self.n - 1).bit_length() + 1) // 2))
        keys = tuple(np.uint64(rng.key(self.key, round_)) for round_ in range(_ROUNDS))
        object.__setattr__(self, "_keys", keys)

    def __call__(self, positions: Indices) -> Indices:
        """The samples at these positions; each position and each sample in [0, n)."""
        values = self._network(positions.astype(np.uint64))
        while (outside := values >= self.n).any():
            values[outside] = self._network(values[outside])
        return values.astype(np.int64)

    def _network(self, values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
        half, mask = np.uint64(self._half), np.uint64((1 << self._half) - 1)
        left, right = values >> half, values & mask
        for round_key in self._keys:
            left, right = right, left ^ (_scramble(right ^ round_key) & mask)
        return (left << half) | right


def _scramble(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


class Order(Protocol):
    """Any other order: a pure function of the position in the stream."""

    def __call__(self, positions: Indices) -> Indices:
        """The samples at these neighbouring positions, each from 0 on."""


def draws(key: int, positions: Indices) -> npt.NDArray[np.uint64]:
    """A 64-bit number for each position that looks unrelated to its neighbours'."""
    return _scramble(_scramble(positions.astype(np.uint64) ^ np.uint64(key)) + np.uint64(0x9E3779B97F4A7C15))


def fractions(key: int, positions: Indices) -> npt.NDArray[np.float64]:
    """As `draws`, in [0, 1)."""
    return (draws(key, positions) >> np.uint64(11)).astype(np.float64) * 2.0**-53


def epochs(positions: Indices, size: int) -> Iterator[tuple[int, Indices]]:
    """(epoch, the positions that lie in it, counted from its beginning) of neighbouring positions."""
    for epoch in range(int(positions[0]) // size, int(positions[-1]) // size + 1):
        inside = positions[(positions >= epoch * size) & (positions < (epoch + 1) * size)]
        yield epoch, inside - epoch * size


class Stream:
    """The endless sequence of sample numbers; computed in blocks, so that a step costs a slice."""

    def __init__(self, num_samples: int, *, seed: int, shuffle: bool, order: "Order | None" = None) -> None:
        """order: instead of the shuffled or plain one."""
        self.num_samples = num_samples
        self._order = order
        self._seed = seed
        self._shuffle = shuffle
        self._block_at = (-1, -1)
        self._block: list[int] = []

    def take(self, begin: int, end: int) -> tuple[int, ...]:
        """The samples at stream positions [begin, end)."""
        taken: list[int] = []
        while begin < end:
            epoch, offset = divmod(begin, self.num_samples) if self._order is None else (0, begin)
            block, at = divmod(offset, _BLOCK)
            piece = self._at(epoch, block)[at : at + end - begin]
            taken += piece
            begin += len(piece)
        return tuple(taken)

    def _at(self, epoch: int, block: int) -> list[int]:
        if self._block_at != (epoch, block):
            last = (block + 1) * _BLOCK
            end = last if self._order else min(last, self.num_samples)
            positions = np.arange(block * _BLOCK, end, dtype=np.int64)
            if self._order:
                positions = self._order(positions)
            elif self._shuffle:
                positions = Permutation(self.num_samples, rng.key(self._seed, rng.ORDER, epoch))(positions)
            self._block_at, self._block = (epoch, block), positions.tolist()
        return self._block


@dataclass(frozen=True, slots=True)
class Cut:
    """How a stretch of the stream is cut into micro-batches, and which of them are this rank's."""

    micro: int
    rank: int
    world_size: int

    def mine(self, stream: Stream, begin: int, end: int) -> tuple[Micro, ...]:
        """This rank's micro-batches of positions [begin, end); the last one of all may be short."""
        return tuple(self.each(stream, begin, end))

    def first(self, stream: Stream) -> Micro:
        """The first micro-batch of the stream, for a rank that has to compute something."""
        return Micro(0, 0, stream.take(0, min(self.micro, stream.num_samples)))

    def rounds(self, begin: int, end: int) -> int:
        """How many micro-batches the busiest rank has."""
        micros = -(-(end - begin) // self.micro)
        return -(-micros // self.world_size)

    def each(self, stream: Stream, begin: int, end: int) -> Iterator[Micro]:
        """Like `mine`, one at a time."""
        stride = self.micro * self.world_size
        for at in range(begin + self.rank * self.micro, end, stride):
            yield Micro((at - begin) // self.micro, at, stream.take(at, min(at + self.micro, end)))
