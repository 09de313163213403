"""Reading the bytes that this rank needs, each block checked before anything is made of it."""

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor

from ktrain.checkpoints.dtypes import ITEM_BYTES
from ktrain.checkpoints.manifest import Manifest, ObjectEntry
from ktrain.checkpoints.read import DamagedError, Readable, check_blocks, read_blocks
from ktrain.storage import Data
from ktrain_trainer.checkpoint.reads import Read, Wanted, plan_reads
from ktrain_trainer.checkpoint.world import World

_READS: Final = 16  # at a time, for each rank
_NUMPY: Final = {1: "u1", 2: "u2", 4: "u4", 8: "u8", 16: "c16"}  # bits are moved, never interpreted
_WINDOW: Final = 4  # messages on their way before the oldest is waited for


class Fetch:
    """The wanted parts as new tensors in host memory. Call `read`, and when all ranks have, `pass_on`, then `tensors`."""

    def __init__(
        self,
        storage: Readable,
        manifest: Manifest,
        wanted: Mapping[str, Wanted],
        world: World,
        *,
        readers: Sequence[int] | None = None,
    ) -> None:
        """readers: by object, where only one rank can read it."""
        self._storage, self._manifest, self._wanted, self._world = storage, manifest, wanted, world
        self._targets = {name: np.empty(it.box.size, _NUMPY[ITEM_BYTES[it.entry.dtype]]) for name, it in wanted.items()}
        self._reads = plan_reads(manifest, wanted, self._targets, readers=readers)
        self._to_pass: dict[Read, Data] = {}

    def read(self) -> None:
        """This rank's own reads; DamagedError names the object and what is wrong with it."""
        own = [read for read in self._reads if read.reader == self._world.rank]
        with ThreadPoolExecutor(_READS, "ktrain-read") as pool:
            for read, data in zip(own, pool.map(self._read, own), strict=True):
                if len(read.ranks) > 1:
                    self._to_pass[read] = data

    def pass_on(self) -> None:
        """Gives the others what they want of it, and takes what they have read: each byte leaves the storage once.

        DamagedError for what was garbled on its way; to the end all the same, for the others wait for what is ours.
        """
        sent: list[dist.Work] = []
        damage: DamagedError | None = None
        for read in self._reads:
            if len(read.ranks) == 1:
                continue
            if read.reader == self._world.rank:
                sent += self._send(read)
                self._drain(sent, _WINDOW * len(read.ranks))
            else:
                data = torch.empty(read.size_bytes, dtype=torch.uint8)
                dist.recv(data, read.reader, group=self._world.group)
                try:
                    self._take(read, data.numpy().data)
                except DamagedError as error:
                    damage = error
        self._drain(sent, 0)
        if damage:
            raise damage

    def tensors(self) -> dict[str, Tensor]:
        """What was fetched."""
        return {name: _as_tensor(self._targets[name], want.entry.dtype) for name, want in self._wanted.items()}

    def _read(self, read: Read) -> Data:
        data = read_blocks(self._storage, self._object(read), read.begin, read.end)
        _place(read, data)
        return data

    def _take(self, read: Read, data: memoryview) -> None:
        check_blocks(self._storage.url, self._object(read), read.begin, data)
        _place(read, data)

    def _send(self, read: Read) -> Iterator[dist.Work]:
        data = torch.frombuffer(bytearray(self._to_pass.pop(read)), dtype=torch.uint8)
        for rank in read.ranks:
            if rank != self._world.rank and (work := dist.isend(data, rank, group=self._world.group)):
                yield work

    def _drain(self, sent: list[dist.Work], most: int) -> None:
        while len(sent) > most:
            sent.pop(0).wait()

    def _object(self, read: Read) -> ObjectEntry:
        return self._manifest.objects[read.object]


def _place(read: Read, data: Data) -> None:
    view = memoryview(data)
    for move in read.moves:
        part = view[move.begin - read.begin : move.end - read.begin]
        rows = np.frombuffer(part, move.target.dtype).reshape(move.rows.size)
        move.target[move.shared.slices(move.origin)] = rows[move.shared.slices(move.rows.offset)]


def _as_tensor(array: NDArray[Any], dtype: str) -> Tensor:
    if array.size == 0:
        return torch.empty(array.shape, dtype=getattr(torch, dtype))
    flat = torch.from_numpy(array.reshape(-1).view(np.uint8))
    return flat.view(getattr(torch, dtype)).reshape(array.shape)
