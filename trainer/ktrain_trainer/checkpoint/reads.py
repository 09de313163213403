"""What must be read of a checkpoint's objects, and by which rank: what several ranks need, one reads for all of them."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any

from numpy.typing import NDArray

from ktrain.checkpoints.boxes import Box, intersect
from ktrain.checkpoints.dtypes import ITEM_BYTES
from ktrain.checkpoints.manifest import Chunk, Manifest, TensorEntry
from ktrain.errors import CheckpointError

Ranks = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Wanted:
    """A part of a stored tensor, and all ranks that want just this part, in order."""

    entry: TensorEntry
    box: Box
    ranks: Ranks


@dataclass(frozen=True, slots=True)
class Move:
    """Bytes [begin, end) of an object hold rows that go, in part, into a target."""

    begin: int
    end: int
    rows: Box  # what those bytes hold
    shared: Box  # what of it is wanted
    target: NDArray[Any]
    origin: tuple[int, ...]  # of the target


@dataclass(frozen=True, slots=True, eq=False)
class Read:
    """Bytes [begin, end) of an object, whole blocks: who reads them, who wants them, and where they go here."""

    object: int
    begin: int
    end: int
    ranks: Ranks
    reader: int
    moves: tuple[Move, ...]

    @property
    def size_bytes(self) -> int:
        """How much that is."""
        return self.end - self.begin


def plan_reads(
    manifest: Manifest,
    wanted: Mapping[str, Wanted],
    targets: Mapping[str, NDArray[Any]],
    *,
    readers: Sequence[int] | None = None,
) -> list[Read]:
    """All reads whose bytes this rank wants, in the same order, and with the same reader, on all ranks that want them.

    readers: by object, where only one rank can read it.
    """
    moves: dict[tuple[Ranks, int], list[Move]] = defaultdict(list)
    for name, want in wanted.items():
        for chunk in want.entry.chunks:
            if shared := intersect(chunk.box, want.box):
                moves[want.ranks, chunk.object].append(_move(chunk, shared, want, targets[name]))
    reads: list[Read] = []
    count: dict[Ranks, int] = defaultdict(int)
    for ranks, index in sorted(moves):
        for begin, end, inside in _runs(manifest, index, moves[ranks, index]):
            # In turn, not by load: that would depend on what else a rank wants, and the others do not know it.
            reader = readers[index] if readers else ranks[count[ranks] % len(ranks)]
            if reader not in ranks:  # it would not know that others wait for it
                raise CheckpointError(f"rank {reader} alone has {manifest.objects[index].key}, and wants nothing of it")
            count[ranks] += 1
            reads.append(Read(index, begin, end, ranks, reader, tuple(inside)))
    return reads


def _move(chunk: Chunk, shared: Box, want: Wanted, target: NDArray[Any]) -> Move:
    item = ITEM_BYTES[want.entry.dtype]
    if not chunk.size:
        return Move(chunk.begin, chunk.end, chunk.box, shared, target, want.box.offset)
    row = prod(chunk.size[1:]) * item
    begin = chunk.begin + (shared.offset[0] - chunk.offset[0]) * row
    rows = Box((shared.offset[0], *chunk.offset[1:]), (shared.size[0], *chunk.size[1:]))
    return Move(begin, begin + shared.size[0] * row, rows, shared, target, want.box.offset)


def _runs(manifest: Manifest, index: int, moves: Iterable[Move]) -> Iterable[tuple[int, int, list[Move]]]:
    """Neighbouring moves together, widened to whole blocks: only those have a checksum."""
    item = manifest.objects[index]
    block = item.block_size
    pending: list[Move] = []
    begin = end = 0
    for move in sorted(moves, key=lambda move: move.begin):
        first, last = move.begin // block * block, min(-(-move.end // block) * block, item.size)
        if pending and first <= end:
            end = max(end, last)
        else:
            if pending:
                yield begin, end, pending
            pending, begin, end = [], first, last
        pending.append(move)
    if pending:
        yield begin, end, pending
