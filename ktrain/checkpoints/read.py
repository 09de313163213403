"""Reading a commit: its manifest, and ranges of its objects, each checked before it is used."""

import hashlib
from typing import Protocol

from ktrain.checkpoints.manifest import Manifest, ObjectEntry, block_checksums, decode_manifest, size_fault
from ktrain.errors import CheckpointError, CheckpointMismatchError, NotFound, ShortRead
from ktrain.history import Commit
from ktrain.storage import Data, Storage


class Readable(Protocol):
    """Where a checkpoint's objects are: a storage, or memory."""

    @property
    def url(self) -> str:
        """For people."""

    def read(self, key: str, begin: int, end: int) -> Data:
        """Bytes [begin, end) of an object; as Storage.read."""


class DamagedError(CheckpointError):
    """Stored bytes are not those that were written."""


def read_manifest(storage: Storage, commit: Commit) -> Manifest:
    """The manifest that the commit names; DamagedError when it is not the one that was committed."""
    where = f"{storage.url}/{commit.manifest}"
    data = _whole(storage, commit.manifest, where)
    found = hashlib.sha256(data).hexdigest()
    if found != commit.sha256:
        raise DamagedError(f"{where} is damaged: its sha256 is {found}, HEAD says {commit.sha256}")
    manifest = _decode(data, where)
    # HEAD has no checksum of its own: a bit of it may be wrong and leave it readable.
    if (manifest.step, manifest.attempt, manifest.epoch) != (commit.step, commit.attempt, commit.epoch):
        raise DamagedError(
            f"{where} is of step {manifest.step} of attempt {manifest.attempt}, epoch {manifest.epoch}; "
            f"HEAD says step {commit.step} of attempt {commit.attempt}, epoch {commit.epoch}"
        )
    return manifest


def _whole(storage: Storage, key: str, where: str) -> bytes:
    """Not before its size is known: whatever lies there in its place may be larger than memory."""
    if (stat := storage.stat(key)) and (fault := size_fault(stat.size_bytes)):
        raise DamagedError(f"{where} is damaged: {fault}")
    try:
        return storage.get(key)[0]
    except NotFound as error:
        raise DamagedError(f"{where} is missing") from error


def read_blocks(storage: Readable, item: ObjectEntry, begin: int, end: int) -> memoryview:
    """Bytes [begin, end) of an object, which begin and end with whole blocks; DamagedError names what is wrong."""
    data = _read(storage, item, begin, end)
    # Once more: bytes can be garbled on their way, and for those of the storage itself it makes no difference.
    if _fault(item, begin, data):
        data = _read(storage, item, begin, end)
        check_blocks(storage.url, item, begin, data)
    return data


def check_blocks(url: str, item: ObjectEntry, begin: int, data: memoryview) -> None:
    """Compares an object's bytes from `begin`, where a block begins, with its checksums; DamagedError names the block."""
    if fault := _fault(item, begin, data):
        raise DamagedError(f"{url}/{item.key} is damaged: {fault}")


def _read(storage: Readable, item: ObjectEntry, begin: int, end: int) -> memoryview:
    try:
        return memoryview(storage.read(item.key, begin, end))
    except NotFound as error:
        raise DamagedError(f"{storage.url}/{item.key} is missing") from error
    except ShortRead as error:
        raise DamagedError(f"{storage.url}/{item.key} is truncated: {item.size} bytes were written") from error


def _fault(item: ObjectEntry, begin: int, data: memoryview) -> str | None:
    first = begin // item.block_size
    found = block_checksums(data, item.block_size)
    for number, (ours, theirs) in enumerate(zip(found, item.checksums[first:], strict=False), first):
        if ours != theirs:
            return f"the checksum of block {number} is {ours}, expected {theirs}"
    return None


def _decode(data: bytes, where: str) -> Manifest:
    try:
        return decode_manifest(data, where)
    except CheckpointMismatchError:  # of a newer ktrain: that must be told, not passed over
        raise
    except CheckpointError as error:
        raise DamagedError(str(error)) from error
