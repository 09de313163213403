"""Reading a commit: its manifest, and ranges of its objects, each checked before it is used."""

import hashlib

from ktrain.checkpoints.manifest import Manifest, ObjectEntry, block_checksums, decode_manifest
from ktrain.errors import CheckpointError, NotFound, ShortRead
from ktrain.history import Commit
from ktrain.storage import Storage


class DamagedError(CheckpointError):
    """Stored bytes are not those that were written."""


def read_manifest(storage: Storage, commit: Commit) -> Manifest:
    """The manifest that the commit names; DamagedError when it is not the one that was committed."""
    where = f"{storage.url}/{commit.manifest}"
    try:
        data, _ = storage.get(commit.manifest)
    except NotFound as error:
        raise DamagedError(f"{where} is missing") from error
    found = hashlib.sha256(data).hexdigest()
    if found != commit.sha256:
        raise DamagedError(f"{where} is damaged: its sha256 is {found}, HEAD says {commit.sha256}")
    return decode_manifest(data, where)


def read_blocks(storage: Storage, item: ObjectEntry, begin: int, end: int) -> memoryview:
    """Bytes [begin, end) of an object, which begin and end with whole blocks; DamagedError names what is wrong."""
    try:
        data = memoryview(storage.read(item.key, begin, end))
    except NotFound as error:
        raise DamagedError(f"{storage.url}/{item.key} is missing") from error
    except ShortRead as error:
        raise DamagedError(f"{storage.url}/{item.key} is truncated: {item.size} bytes were written") from error
    check_blocks(storage.url, item, begin, data)
    return data


def check_blocks(url: str, item: ObjectEntry, begin: int, data: memoryview) -> None:
    """Compares an object's bytes from `begin`, where a block begins, with its checksums; DamagedError names the block."""
    first = begin // item.block_size
    found = block_checksums(data, item.block_size)
    for number, (ours, theirs) in enumerate(zip(found, item.checksums[first:], strict=False), first):
        if ours != theirs:
            raise DamagedError(
                f"{url}/{item.key} is damaged: the checksum of block {number} is {ours}, expected {theirs}"
            )
