"""Restoring: the newest commit that every rank finds whole, and nothing live changes before all agree on it."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, NoReturn

import torch
from torch import Tensor

from ktrain.checkpoints.manifest import Manifest
from ktrain.checkpoints.read import DamagedError, Readable, read_manifest
from ktrain.errors import CheckpointError, CheckpointMismatchError, KtrainError, PeerLostError, StorageError
from ktrain.history import Commit, Head, read_head
from ktrain.history.model import decode_head, encode_head
from ktrain.storage import Storage
from ktrain_trainer.checkpoint.fetch import Fetch
from ktrain_trainer.checkpoint.reads import Wanted
from ktrain_trainer.checkpoint.sharding import dtype_name, holders_of, local_part
from ktrain_trainer.checkpoint.world import World, get_json, reaching_peers, set_json, wait_for_key

_HEAD_SECONDS: Final = 600
_KINDS: Final[tuple[type[KtrainError], ...]] = (CheckpointMismatchError, DamagedError, CheckpointError, StorageError)


@dataclass(frozen=True, slots=True)
class Loaded:
    """A whole checkpoint in scratch memory, and the tensors it belongs into."""

    manifest: Manifest
    targets: Mapping[str, Tensor]
    scratch: Mapping[str, Tensor]

    def apply(self) -> None:
        """Copies it into the targets."""
        for name, tensor in self.targets.items():
            local_part(tensor)[0].copy_(self.scratch[name])


@dataclass(frozen=True, slots=True)
class Found:
    """The newest commit that is whole, and why newer ones were passed over."""

    commit: Commit
    loaded: Loaded
    fell_back: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """Where one checkpoint's objects are."""

    place: Readable
    manifest: Callable[[], Manifest]
    readers: Sequence[int] | None = None  # by object, where only one rank can read it


Failure = Mapping[str, Any]
"""What every rank knows of one that failed: kind and error."""

Describe = Callable[[Manifest], Mapping[str, Tensor]]
"""From a manifest to the tensors to fill, by name; raises CheckpointMismatchError when they cannot be."""


def shared_head(storage: Storage, world: World) -> Head | None:
    """HEAD as rank 0 sees it, so that all ranks try the same commits."""
    if world.store is None:
        return read_head(storage)
    key = world.next_base("head")
    if world.rank == 0:
        try:
            head = read_head(storage)
        except KtrainError as error:
            set_json(world.store, key, {"kind": type(error).__name__, "error": str(error)})
            raise
        set_json(world.store, key, {"head": encode_head(head).decode() if head else None})
        return head
    if wait_for_key(world.store, [key], deadline=time.monotonic() + _HEAD_SECONDS) is None:
        raise PeerLostError(f"rank 0 has not read HEAD within {_HEAD_SECONDS} s")
    message = get_json(world.store, key)
    if "error" in message:
        _raise(message)
    return decode_head(message["head"].encode(), storage.url) if message["head"] else None


def load_newest(
    storage: Storage, commits: Sequence[Commit], world: World, describe: Describe, *, may_cast: bool = False
) -> Found:
    """Tries commits from the last to the first; damage on any rank makes all ranks go on to the next."""
    fell_back: list[str] = []
    for commit in reversed(commits):
        source = Source(storage, partial(read_manifest, storage, commit))
        loaded = load(source, world, describe, may_cast=may_cast)
        if isinstance(loaded, Loaded):
            return Found(commit, loaded, tuple(fell_back))
        if loaded["kind"] != DamagedError.__name__:
            _raise(loaded)
        fell_back.append(f"step {commit.step}: {loaded['error']}")
    reasons = "; ".join(fell_back)
    raise CheckpointError(f"{storage.url}: none of {len(commits)} checkpoints is whole: {reasons}")


def load(source: Source, world: World, describe: Describe, *, may_cast: bool = False) -> Loaded | Failure:
    """One checkpoint into scratch memory; on all ranks, or the same failure on all of them."""
    attempt = _Attempt(source, world)
    failure = _jointly(lambda: attempt.read(describe, may_cast=may_cast), world)
    if failure is None and world.group is not None:
        failure = _jointly(attempt.fetched.pass_on, world)
    return failure or Loaded(attempt.manifest, attempt.targets, attempt.fetched.tensors())


class _Attempt:
    """One checkpoint on its way into scratch memory."""

    manifest: Manifest
    targets: Mapping[str, Tensor]
    fetched: Fetch

    def __init__(self, source: Source, world: World) -> None:
        self._source, self._world = source, world

    def read(self, describe: Describe, *, may_cast: bool) -> None:
        self.manifest = manifest = self._source.manifest()
        self.targets = describe(manifest)
        wanted = {
            name: _wanted(manifest, name, tensor, self._world, may_cast=may_cast)
            for name, tensor in self.targets.items()
        }
        self.fetched = Fetch(self._source.place, manifest, wanted, self._world, readers=self._source.readers)
        self.fetched.read()


def _wanted(manifest: Manifest, name: str, tensor: Tensor, world: World, *, may_cast: bool) -> Wanted:
    entry = manifest.find(name)
    if entry is None:
        raise CheckpointMismatchError(f"the checkpoint has no tensor {name}")
    if entry.shape != tuple(tensor.shape):
        raise CheckpointMismatchError(
            f"{name} has shape {list(entry.shape)} in the checkpoint, but {list(tensor.shape)} in this job; "
            "a changed model needs a new run"
        )
    casts = may_cast and tensor.is_floating_point() and getattr(torch, entry.dtype).is_floating_point
    if entry.dtype != dtype_name(tensor) and not casts:
        raise CheckpointMismatchError(
            f"{name} is {entry.dtype} in the checkpoint, but {dtype_name(tensor)} in this job; a changed dtype needs a new run"
        )
    ranks = holders_of(tensor, rank=world.rank, world_size=world.size) if world.group is not None else (world.rank,)
    return Wanted(entry, local_part(tensor)[1], ranks)


def _jointly(act: Callable[[], None], world: World) -> Failure | None:
    """None when all ranks succeeded, else the same failure on all of them."""
    base = world.next_base("restore")
    error: KtrainError | None = None
    try:
        act()
    except StorageError as caught:  # the other ranks must hear of it before anyone acts on it
        error = caught
    message = {"kind": _kind(error), "error": str(error)} if error else None
    if world.store is None:
        return message
    if message:
        set_json(world.store, f"{base}/{message['kind']}", message)
    if world.agree(error is None):
        return None
    # What cannot be cured by an older checkpoint goes first.
    kinds = ("CheckpointMismatchError", "StorageError", "CheckpointError", "DamagedError")
    with reaching_peers():
        key = next(f"{base}/{kind}" for kind in kinds if world.store.check([f"{base}/{kind}"]))
    failure: Failure = get_json(world.store, key)
    return failure


def _kind(error: KtrainError) -> str:
    return next(kind.__name__ for kind in _KINDS if isinstance(error, kind))


def _raise(failure: Failure) -> NoReturn:
    kinds = {kind.__name__: kind for kind in _KINDS}
    raise kinds.get(failure["kind"], StorageError)(failure["error"])
