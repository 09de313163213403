"""Whether every byte of a commit is what was written."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from typing import Final

from ktrain.checkpoints.manifest import ObjectEntry
from ktrain.checkpoints.read import DamagedError, read_blocks, read_manifest
from ktrain.errors import CheckpointError
from ktrain.history import Commit
from ktrain.storage import Storage

READS: Final = 8  # at a time
PIECE: Final = 16 << 20  # bytes in memory for each of them


def verify(storage: Storage, commit: Commit, *, on_bytes: Callable[[int], object]) -> list[str]:
    """What is wrong with the commit, a sentence for each object, none when it is whole; `on_bytes` hears of progress.

    StorageError when the storage fails, which says nothing about the checkpoint.
    """
    try:
        manifest = read_manifest(storage, commit)
    except CheckpointError as error:
        return [str(error)]

    def check(item: ObjectEntry) -> str:
        try:
            for begin, end in pieces(item):
                on_bytes(len(read_blocks(storage, item, begin, end)))
        except DamagedError as error:
            return str(error)
        return ""

    with ThreadPoolExecutor(READS, "ktrain-verify") as pool:
        futures = [pool.submit(check, item) for item in manifest.objects]
        return sorted(problem for future in as_completed(futures) if (problem := future.result()))


def pieces(item: ObjectEntry) -> Iterator[tuple[int, int]]:
    """Ranges of whole blocks that cover the object."""
    step = max(PIECE // item.block_size, 1) * item.block_size
    for begin in range(0, item.size, step):
        yield begin, min(begin + step, item.size)
