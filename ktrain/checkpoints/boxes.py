"""Boxes: rectangular parts of a tensor, and the arithmetic of splitting and intersecting them."""

import secrets
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import prod
from typing import Final

Shape = tuple[int, ...]
_PRIME: Final = 2**127 - 1


@dataclass(frozen=True, slots=True, order=True)
class Box:
    """Where a part of a tensor begins and how large it is, per dimension; its bytes are those of C order."""

    offset: Shape
    size: Shape

    @property
    def numel(self) -> int:
        """How many elements it holds."""
        return prod(self.size)

    def slices(self, origin: Shape | None = None) -> tuple[slice, ...]:
        """Indices of the box in a tensor that begins at origin."""
        begins = self.offset if origin is None else tuple(a - b for a, b in zip(self.offset, origin, strict=True))
        return tuple(slice(begin, begin + size) for begin, size in zip(begins, self.size, strict=True))


def whole(shape: Shape) -> Box:
    """The box of the entire tensor."""
    return Box((0,) * len(shape), shape)


def intersect(a: Box, b: Box) -> Box | None:
    """What two boxes share, None when that is nothing."""
    offset = tuple(map(max, a.offset, b.offset))
    ends = tuple(min(ao + an, bo + bn) for ao, an, bo, bn in zip(a.offset, a.size, b.offset, b.size, strict=True))
    size = tuple(end - begin for begin, end in zip(offset, ends, strict=True))
    return Box(offset, size) if all(n > 0 for n in size) else None


def is_inside(box: Box, shape: Shape) -> bool:
    """Whether the box lies within a tensor of this shape."""
    return len(box.offset) == len(box.size) == len(shape) and all(
        begin >= 0 and size > 0 and begin + size <= top
        for begin, size, top in zip(box.offset, box.size, shape, strict=True)
    )


def split(box: Box, limit: int) -> Iterator[Box]:
    """Parts of at most `limit` elements, in C order, each contiguous within the box."""
    assert limit >= 1
    if box.numel <= limit:
        if box.numel:
            yield box
        return
    dim = next(d for d, n in enumerate(box.size) if n > 1)
    row = box.numel // box.size[dim]
    step = max(1, limit // row)
    for begin in range(0, box.size[dim], step):
        part = _narrow(box, dim, begin, min(step, box.size[dim] - begin))
        yield from split(part, limit)


def flat_range(box: Box, shape: Shape) -> tuple[int, int] | None:
    """First and last+1 element of the box in C order, None when it is not one contiguous range of the tensor."""
    if any(n != 1 for n in box.size[: _outer_dims(box, shape)]):
        return None
    begin = 0
    for offset, top in zip(box.offset, shape, strict=True):
        begin = begin * top + offset
    return begin, begin + box.numel


def runs(box: Box, shape: Shape) -> Iterator[tuple[int, int, int]]:
    """(first element in the box, first element in the tensor, how many): what of a box is contiguous in both."""
    outer = _outer_dims(box, shape)
    length = prod(box.size[outer:])
    strides = [prod(shape[dim + 1 :]) for dim in range(len(shape))]
    base = sum(begin * stride for begin, stride in zip(box.offset, strides, strict=True))
    for number in range(prod(box.size[:outer])):
        rest, at = number, base
        for dim in reversed(range(outer)):
            rest, here = divmod(rest, box.size[dim])
            at += here * strides[dim]
        yield number * length, at, length


def tiles(boxes: list[Box], shape: Shape) -> bool:
    """Whether boxes inside the shape cover each of its elements exactly once."""
    if sum(box.numel for box in boxes) != prod(shape):
        return False
    ranges = [flat_range(box, shape) for box in boxes]
    flat = sorted(found for found in ranges if found)
    if len(flat) == len(boxes):
        return all(a[1] <= b[0] for a, b in pairwise(flat))
    return _covers_once(boxes, shape)


def _outer_dims(box: Box, shape: Shape) -> int:
    """How many leading dimensions are walked over: the box is contiguous within each step of them."""
    inner = len(shape)
    while inner > 0 and box.size[inner - 1] == shape[inner - 1]:
        inner -= 1
    return max(inner - 1, 0)


def _covers_once(boxes: list[Box], shape: Shape) -> bool:
    # Each element e stands for the product of x[d] ** e[d]: over all boxes these add up to those of the tensor, for
    # random x, only if each element is counted once. Comparing boxes with each other takes hours for a hostile manifest.
    points = [_Powers(2 + secrets.randbelow(_PRIME - 2)) for _ in shape]
    return sum(_weight(box, points) for box in boxes) % _PRIME == _weight(whole(shape), points)


def _weight(box: Box, points: Sequence["_Powers"]) -> int:
    weight = 1
    for begin, size, powers in zip(box.offset, box.size, points, strict=True):
        weight = weight * (powers[begin + size] - powers[begin]) % _PRIME
    return weight


class _Powers(dict[int, int]):
    """Powers of one number, each computed once: many boxes end where others begin."""

    def __init__(self, base: int) -> None:
        super().__init__()
        self._base = base

    def __missing__(self, exponent: int) -> int:
        power = self[exponent] = pow(self._base, exponent, _PRIME)
        return power


def _narrow(box: Box, dim: int, begin: int, size: int) -> Box:
    offset = (*box.offset[:dim], box.offset[dim] + begin, *box.offset[dim + 1 :])
    return Box(offset, (*box.size[:dim], size, *box.size[dim + 1 :]))
