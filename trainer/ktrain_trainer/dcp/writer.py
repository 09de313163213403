"""A StorageWriter: medium objects, many at once, a manifest with the checksum of each block, and HEAD last."""

import io
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from os import PathLike
from typing import Any, Final, cast

import torch
from torch import Tensor
from torch.distributed.checkpoint.metadata import Metadata, TensorStorageMetadata
from torch.distributed.checkpoint.planner import SavePlan, SavePlanner, WriteItem, WriteItemType
from torch.distributed.checkpoint.storage import StorageWriter, WriteResult
from torch.futures import Future

from ktrain.checkpoints.boxes import Box, split
from ktrain.checkpoints.commit import Folders, commit_manifest
from ktrain.checkpoints.manifest import (
    FORMAT,
    Chunk,
    Manifest,
    ObjectEntry,
    TensorEntry,
    block_checksums,
)
from ktrain.checkpoints.readers import keep
from ktrain.checkpoints.retention import Retention
from ktrain.checkpoints.tidy import remove, sweep
from ktrain.errors import CheckpointError
from ktrain.history import claim_epoch, read_head
from ktrain_trainer.checkpoint.save import Options
from ktrain_trainer.checkpoint.sharding import dtype_name
from ktrain_trainer.dcp.place import BYTES, MAPPINGS, Place, decided

_RUN: Final = "dcp"
DEFAULT_OPTIONS: Final = Options()
DEFAULT_RETENTION: Final = Retention()


@dataclass(frozen=True, slots=True)
class _Part:
    """Bytes of one tensor, or of what is none."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    box: Box
    data: memoryview
    is_bytes: bool


@dataclass(frozen=True, slots=True)
class _Written:
    """An object, and what is in it, in order."""

    entry: ObjectEntry
    parts: tuple[tuple[str, str, tuple[int, ...], Box, int, bool], ...]  # name, dtype, shape, box, bytes, whether bytes


class Writer(StorageWriter):
    """Writes to one run; make one and keep it: it claims the run's epoch, so that an older writer can commit no more.

    `checkpoint_id` is the step. Making one is a collective. `options` are those of `open_storage`: endpoint, region, …
    """

    def __init__(
        self,
        url: str,
        *,
        retention: Retention = DEFAULT_RETENTION,
        sizes: Options = DEFAULT_OPTIONS,
        process_group: Any = None,
        **options: Any,
    ) -> None:
        self._place, self._retention, self._sizes = Place(url, options), retention, sizes
        self._token = decided(self._claim, process_group)
        self._rank, self._step, self._folder = 0, 0, ""
        self._folders = Folders(self._token)

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: str | PathLike[str]) -> bool:
        """A step: a number."""
        return str(checkpoint_id).isdecimal()

    def reset(self, checkpoint_id: str | PathLike[str] | None = None) -> None:
        """The next save is of this step; without one, of the step after the last."""
        if checkpoint_id is not None and not self.validate_checkpoint_id(checkpoint_id):
            raise CheckpointError(f"checkpoint_id is {checkpoint_id!s}; ktrain's writer takes the step, such as '100'")
        self._step = int(str(checkpoint_id)) if checkpoint_id is not None else self._step + 1
        self._folder = self._folders.new(self._step)

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Learns the rank: newer versions of torch tell it."""
        own = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
        self._rank = kwargs.get("rank", own)

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        """As it is."""
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        """Each rank names its own objects: nothing to arrange."""
        return plans

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        """Uploads this rank's items; returns when they are durable."""
        parts = [part for item in plan.items for part in self._parts(item, planner)]
        groups = list(_pack(parts, self._sizes.object_bytes))
        with ThreadPoolExecutor(self._sizes.uploads, "ktrain-upload") as pool:
            written = list(pool.map(self._write, range(len(groups)), groups))
        results = [WriteResult(index=item.index, size_in_bytes=0, storage_data=None) for item in plan.items]
        if results:
            results[0] = WriteResult(index=plan.items[0].index, size_in_bytes=0, storage_data=written)
        future: Future[list[WriteResult]] = Future()
        future.set_result(results)
        return future

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        """On the coordinator, when all ranks are done: the manifest, then HEAD."""
        written = [it for of_rank in results for result in of_rank for it in result.storage_data or []]
        manifest = self._manifest(metadata, written, world_size=len(results))
        _, _, removed = commit_manifest(
            self._place.storage,
            self._token,
            manifest,
            folder=self._folder,
            metric=None,
            keep=partial(keep, self._place.storage, self._retention),
        )
        remove(self._place.storage, removed)

    def _claim(self) -> Any:
        head = read_head(self._place.storage)
        token = claim_epoch(self._place.storage, attempt=head.attempt + 1 if head else 1)
        if head := read_head(self._place.storage):
            sweep(self._place.storage, token, head)
        return token

    def _parts(self, item: WriteItem, planner: SavePlanner) -> Iterator[_Part]:
        data = planner.resolve_data(item)
        if item.type == WriteItemType.BYTE_IO:
            view = cast("io.BytesIO", data).getbuffer()
            yield _Part(item.index.fqn, "uint8", (len(view),), Box((0,), (len(view),)), view, is_bytes=True)
            return
        tensor = cast("Tensor", data).detach()
        told = item.tensor_data
        assert told is not None
        whole = Box(tuple(told.chunk.offsets), tuple(told.chunk.sizes))
        for box in split(whole, max(self._sizes.object_bytes // tensor.element_size(), 1)):
            part = tensor[box.slices(whole.offset)].contiguous().cpu()
            view = part.reshape(-1).view(torch.uint8).numpy().data
            yield _Part(item.index.fqn, dtype_name(tensor), tuple(told.size), box, view, is_bytes=False)

    def _write(self, index: int, parts: Sequence[_Part]) -> _Written:
        data = parts[0].data if len(parts) == 1 else memoryview(b"".join(part.data for part in parts))
        key = f"{self._folder}/{self._rank:04d}-{index:04d}.bin"
        checksums = block_checksums(data, self._sizes.block_bytes)
        self._place.storage.create(key, data)
        told = tuple((it.name, it.dtype, it.shape, it.box, len(it.data), it.is_bytes) for it in parts)
        return _Written(ObjectEntry(key, len(data), self._sizes.block_bytes, checksums), told)

    def _manifest(self, metadata: Metadata, written: Sequence[_Written], *, world_size: int) -> Manifest:
        tensors, names = _tensors(written)
        paths = metadata.planner_data if isinstance(metadata.planner_data, dict) else {}  # of all ranks' plans
        mappings = {name: list(path) for name, path in paths.items() if name in metadata.state_dict_metadata}
        return Manifest(
            format=FORMAT,
            run=_RUN,
            attempt=self._token.attempt,
            epoch=self._token.epoch,
            step=self._step,
            created=time.time(),
            world_size=world_size,
            meta={_RUN: {MAPPINGS: mappings, BYTES: names}},
            optimizer=None,
            values={},
            aliases={},
            objects=tuple(it.entry for it in written),
            tensors=tensors | _empty(metadata, tensors.keys()),
        )


def _pack(parts: Iterable[_Part], object_bytes: int) -> Iterator[list[_Part]]:
    """Objects of one to two times `object_bytes`, the last one as it comes."""
    group: list[_Part] = []
    size = 0
    for part in sorted((it for it in parts if len(it.data)), key=lambda it: (it.is_bytes, it.name, it.box)):
        group.append(part)
        size += len(part.data)
        if size >= object_bytes:
            yield group
            group, size = [], 0
    if group:
        yield group


def _tensors(written: Sequence[_Written]) -> tuple[dict[str, TensorEntry], list[str]]:
    chunks: dict[str, list[Chunk]] = defaultdict(list)
    kinds: dict[str, tuple[str, tuple[int, ...]]] = {}
    names = []
    for number, it in enumerate(written):
        at = 0
        for name, dtype, shape, box, size, is_bytes in it.parts:
            chunks[name].append(Chunk(box.offset, box.size, number, at, at + size))
            kinds[name] = dtype, shape
            at += size
            if is_bytes:
                names.append(name)
    return {name: TensorEntry(*kinds[name], tuple(found)) for name, found in chunks.items()}, names


def _empty(metadata: Metadata, known: Iterable[str]) -> dict[str, TensorEntry]:
    """Tensors without elements are in no object."""
    return {
        name: TensorEntry(str(it.properties.dtype).removeprefix("torch."), tuple(it.size), ())
        for name, it in metadata.state_dict_metadata.items()
        if name not in known and isinstance(it, TensorStorageMetadata)
    }
