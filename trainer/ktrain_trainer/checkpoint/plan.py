"""Which rank writes which bytes into which object: the same plan on every rank, without asking the others."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import Final

from ktrain.checkpoints.boxes import Box, Shape, split
from ktrain.checkpoints.dtypes import ITEM_BYTES

_FINEST_SPLIT_BYTES: Final = 1 << 20  # below this a second request costs more than the imbalance


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a tensor and the ranks that hold a copy of it."""

    box: Box
    holders: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Layout:
    """A tensor as all ranks together hold it."""

    dtype: str
    shape: Shape
    pieces: tuple[Piece, ...]  # tile the tensor


@dataclass(frozen=True, slots=True)
class Slot:
    """One part of one tensor, at bytes [begin, end) of an object."""

    name: str
    box: Box
    begin: int
    end: int


@dataclass(frozen=True, slots=True)
class ObjectPlan:
    """One object to write: by whom, and what is in it."""

    rank: int
    index: int
    size_bytes: int
    slots: tuple[Slot, ...]

    @property
    def file_name(self) -> str:
        """The last part of its key."""
        return f"{self.rank:04d}-{self.index:04d}.bin"


@dataclass(frozen=True, slots=True)
class Plan:
    """All objects of one save, in key order."""

    objects: tuple[ObjectPlan, ...]
    digest: str  # equal on ranks that made the same plan

    @property
    def size_bytes(self) -> int:
        """Bytes of all objects."""
        return sum(item.size_bytes for item in self.objects)


@dataclass(frozen=True, slots=True)
class _Part:
    name: str
    box: Box
    item_bytes: int
    holders: tuple[int, ...]

    @property
    def size_bytes(self) -> int:
        return self.box.numel * self.item_bytes


def make_plan(layouts: Mapping[str, Layout], *, world_size: int, object_bytes: int) -> Plan:
    """Balances bytes over ranks and packs each rank's share into objects of one to two times `object_bytes`."""
    total = sum(ITEM_BYTES[it.dtype] * piece.box.numel for it in layouts.values() for piece in it.pieces)
    fair = min(object_bytes, max(total // (4 * world_size), _FINEST_SPLIT_BYTES))
    parts = [
        part
        for name in sorted(layouts)
        for piece in layouts[name].pieces
        for part in _parts(name, layouts[name], piece, fair if len(piece.holders) > 1 else object_bytes)
    ]
    shares = _balance(parts, world_size)
    objects = tuple(item for rank, share in enumerate(shares) for item in _pack(rank, share, object_bytes))
    return Plan(objects, hashlib.sha256(repr((sorted(layouts.items()), objects)).encode()).hexdigest())


def _parts(name: str, layout: Layout, piece: Piece, limit_bytes: int) -> list[_Part]:
    item = ITEM_BYTES[layout.dtype]
    boxes = split(piece.box, max(1, limit_bytes // item))
    return [_Part(name, box, item, piece.holders) for box in boxes]


def _balance(parts: list[_Part], world_size: int) -> list[list[_Part]]:
    """Each part to one of its holders: first those without a choice, then the largest to the least loaded."""
    loads = [0] * world_size
    shares: list[list[_Part]] = [[] for _ in range(world_size)]
    by_choice = sorted(parts, key=lambda part: (len(part.holders) > 1, -part.size_bytes))  # stable: name order stays
    for part in by_choice:
        rank = min(part.holders, key=lambda holder: (loads[holder], holder))
        loads[rank] += part.size_bytes
        shares[rank].append(part)
    # Large items first: so each part begins at a multiple of its item's size, without a gap.
    return [sorted(share, key=lambda part: (-part.item_bytes, part.name, part.box)) for share in shares]


def _pack(rank: int, share: list[_Part], object_bytes: int) -> list[ObjectPlan]:
    bins: list[list[_Part]] = []
    used = object_bytes
    for part in share:
        if used >= object_bytes:
            bins.append([])
            used = 0
        bins[-1].append(part)
        used += part.size_bytes
    # What is left over goes into the object before, where it fits: a request costs more than a few bytes.
    if len(bins) > 1 and _size(bins[-2]) + _size(bins[-1]) <= 2 * object_bytes:
        rest = bins.pop()
        bins[-1] += rest
    return [_lay_out(rank, index, parts) for index, parts in enumerate(bins)]


def _lay_out(rank: int, index: int, parts: list[_Part]) -> ObjectPlan:
    ends = list(accumulate(part.size_bytes for part in parts))
    slots = tuple(Slot(it.name, it.box, end - it.size_bytes, end) for it, end in zip(parts, ends, strict=True))
    return ObjectPlan(rank, index, ends[-1], slots)


def _size(parts: list[_Part]) -> int:
    return sum(part.size_bytes for part in parts)
