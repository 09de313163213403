"""A StorageReader: the newest commit or that of a step, each block checked, nothing placed before all of it is here."""

import io
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner
from torch.distributed.checkpoint.metadata import (
    BytesStorageMetadata,
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import LoadItemType, LoadPlan, ReadItem
from torch.distributed.checkpoint.planner import LoadPlanner as AnyLoadPlanner
from torch.distributed.checkpoint.storage import StorageReader
from torch.futures import Future

from ktrain.checkpoints.boxes import Box, whole
from ktrain.checkpoints.manifest import Manifest, TensorEntry
from ktrain.checkpoints.read import read_manifest
from ktrain.errors import CheckpointError
from ktrain.history import Commit, read_head
from ktrain_trainer.checkpoint.fetch import Fetch
from ktrain_trainer.checkpoint.reads import Wanted
from ktrain_trainer.checkpoint.world import World
from ktrain_trainer.dcp.place import BYTES, MAPPINGS, Place, decided


class LoadPlanner(DefaultLoadPlanner):
    """torch's own, but what is no tensor is read without running code from the checkpoint."""

    def load_bytes(self, read_item: ReadItem, value: io.BytesIO) -> None:
        """Numbers, strings, and containers of them."""
        loaded = torch.load(value, weights_only=True)
        plain = io.BytesIO()
        torch.save(loaded, plain)
        plain.seek(0)
        super().load_bytes(read_item, plain)


class Reader(StorageReader):
    """Reads a commit of a run; making one is a collective, so that all ranks read the same one."""

    def __init__(self, url: str, *, step: int | None = None, process_group: Any = None, **options: Any) -> None:
        """step: the newest, when none is named; a `checkpoint_id` names another. options: those of `open_storage`."""
        self._place, self._step = Place(url, options), step
        self._commits = decided(self._read_commits, process_group)
        self._manifest: Manifest | None = None
        self._chosen()

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: Any) -> bool:
        """A step: a number."""
        return str(checkpoint_id).isdecimal()

    def reset(self, checkpoint_id: Any = None) -> None:
        """The next load is of this step."""
        if checkpoint_id is not None:
            self._step = int(str(checkpoint_id))
        self._manifest = None

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:  # noqa: ARG002
        """From the manifest; DamagedError when it is not what was committed."""
        manifest = self._read()
        told = manifest.meta.get("dcp", {})
        names = set(told.get(BYTES, []))
        return Metadata(
            {
                name: BytesStorageMetadata() if name in names else _described(it)
                for name, it in manifest.tensors.items()
            },
            planner_data={name: tuple(path) for name, path in told.get(MAPPINGS, {}).items()},
        )

    def set_up_storage_reader(self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        """Nothing to set up."""

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        """As it is."""
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        """As they are."""
        return plans

    def read_data(self, plan: LoadPlan, planner: AnyLoadPlanner) -> Future[None]:
        """Fetches and checks everything first, then hands it over."""
        manifest = self._read()
        wanted = {str(number): _wanted(manifest, item) for number, item in enumerate(plan.items)}
        fetch = Fetch(self._place.storage, manifest, wanted, World())
        fetch.read()
        found = fetch.tensors()
        for number, item in enumerate(plan.items):
            _hand_over(planner, item, found[str(number)])
        future: Future[None] = Future()
        future.set_result(None)
        return future

    def _read_commits(self) -> tuple[Commit, ...]:
        head = read_head(self._place.storage)
        if head is None or not head.commits:
            raise CheckpointError(f"{self._place.url} has no checkpoint")
        return head.commits

    def _read(self) -> Manifest:
        if self._manifest is None:
            self._manifest = read_manifest(self._place.storage, self._chosen())
        return self._manifest

    def _chosen(self) -> Commit:
        chosen = [it for it in self._commits if self._step in {None, it.step}]
        if not chosen:
            steps = ", ".join(str(it.step) for it in self._commits)
            raise CheckpointError(f"{self._place.url} has no checkpoint of step {self._step}; it has {steps}")
        return chosen[-1]


def _described(entry: TensorEntry) -> TensorStorageMetadata:
    chunks = [ChunkStorageMetadata(torch.Size(it.offset), torch.Size(it.size)) for it in entry.chunks]
    # Without elements it is in no object, and yet torch looks for one chunk.
    chunks = chunks or [ChunkStorageMetadata(torch.Size([0] * len(entry.shape)), torch.Size(entry.shape))]
    return TensorStorageMetadata(TensorProperties(dtype=getattr(torch, entry.dtype)), torch.Size(entry.shape), chunks)


def _wanted(manifest: Manifest, item: ReadItem) -> Wanted:
    entry = manifest.tensors[item.storage_index.fqn]
    if item.type == LoadItemType.BYTE_IO:
        return Wanted(entry, whole(entry.shape), (0,))
    begin = _offset(item.storage_index, len(entry.shape))
    chunks = tuple(chunk for chunk in entry.chunks if chunk.offset == begin)
    offset = tuple(a + b for a, b in zip(begin, item.storage_offsets, strict=True))
    return Wanted(TensorEntry(entry.dtype, entry.shape, chunks), Box(offset, tuple(item.lengths)), (0,))


def _offset(index: MetadataIndex, dims: int) -> tuple[int, ...]:
    return tuple(index.offset) if index.offset is not None else (0,) * dims


def _hand_over(planner: AnyLoadPlanner, item: ReadItem, found: Tensor) -> None:
    if item.type == LoadItemType.BYTE_IO:
        planner.load_bytes(item, io.BytesIO(found.numpy().tobytes()))
        return
    target = planner.resolve_tensor(item).detach()
    target.copy_(found)
    planner.commit_tensor(item, target)
