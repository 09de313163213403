"""Reading the bytes that this rank needs, each block checked before anything is made of it."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import prod
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ktrain.checkpoints.boxes import Box, intersect
from ktrain.checkpoints.dtypes import ITEM_BYTES
from ktrain.checkpoints.manifest import Chunk, Manifest, ObjectEntry, TensorEntry
from ktrain.checkpoints.read import read_blocks
from ktrain.storage import Storage

_READS: Final = 4  # objects at a time, for each rank
_NUMPY: Final = {1: "u1", 2: "u2", 4: "u4", 8: "u8", 16: "c16"}  # bits are moved, never interpreted


@dataclass(frozen=True, slots=True)
class Wanted:
    """A part of a stored tensor."""

    entry: TensorEntry
    box: Box


@dataclass(frozen=True, slots=True)
class _Move:
    """Bytes [begin, end) of an object hold rows that go, in part, into a target."""

    begin: int
    end: int
    rows: Box  # what those bytes hold
    shared: Box  # what of it is wanted
    target: NDArray[Any]
    origin: tuple[int, ...]  # of the target


def fetch(storage: Storage, manifest: Manifest, wanted: Mapping[str, Wanted]) -> dict[str, Tensor]:
    """The wanted parts as new tensors in host memory; DamagedError names the object and what is wrong with it."""
    targets = {name: np.empty(want.box.size, _NUMPY[ITEM_BYTES[want.entry.dtype]]) for name, want in wanted.items()}
    moves: dict[int, list[_Move]] = defaultdict(list)
    for name, want in wanted.items():
        for chunk in want.entry.chunks:
            if shared := intersect(chunk.box, want.box):
                moves[chunk.object].append(_move(chunk, shared, want, targets[name]))
    with ThreadPoolExecutor(_READS, "ktrain-read") as pool:
        list(pool.map(lambda index: _fill(storage, manifest.objects[index], moves[index]), sorted(moves)))
    return {name: _as_tensor(targets[name], want.entry.dtype) for name, want in wanted.items()}


def _move(chunk: Chunk, shared: Box, want: Wanted, target: NDArray[Any]) -> _Move:
    item = ITEM_BYTES[want.entry.dtype]
    if not chunk.size:
        return _Move(chunk.begin, chunk.end, chunk.box, shared, target, want.box.offset)
    row = prod(chunk.size[1:]) * item
    begin = chunk.begin + (shared.offset[0] - chunk.offset[0]) * row
    rows = Box((shared.offset[0], *chunk.offset[1:]), (shared.size[0], *chunk.size[1:]))
    return _Move(begin, begin + shared.size[0] * row, rows, shared, target, want.box.offset)


def _fill(storage: Storage, item: ObjectEntry, moves: list[_Move]) -> None:
    for begin, end, inside in _runs(item, moves):
        data = read_blocks(storage, item, begin, end)
        for move in inside:
            rows = np.frombuffer(data[move.begin - begin : move.end - begin], move.target.dtype).reshape(move.rows.size)
            move.target[move.shared.slices(move.origin)] = rows[move.shared.slices(move.rows.offset)]


def _runs(item: ObjectEntry, moves: list[_Move]) -> Iterator[tuple[int, int, list[_Move]]]:
    """Neighbouring moves together, widened to whole blocks: only those have a checksum."""
    block = item.block_size
    pending: list[_Move] = []
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


def _as_tensor(array: NDArray[Any], dtype: str) -> Tensor:
    if array.size == 0:
        return torch.empty(array.shape, dtype=getattr(torch, dtype))
    flat = torch.from_numpy(array.reshape(-1).view(np.uint8))
    return flat.view(getattr(torch, dtype)).reshape(array.shape)
