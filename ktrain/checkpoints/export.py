"""Writes the weights of a commit as safetensors files, whole or not at all, from wherever it is stored; needs no torch."""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from ktrain.checkpoints.boxes import runs
from ktrain.checkpoints.dtypes import ITEM_BYTES
from ktrain.checkpoints.manifest import Chunk, Manifest, TensorEntry
from ktrain.checkpoints.read import read_blocks
from ktrain.checkpoints.safetensors import INDEX, Part, index
from ktrain.checkpoints.verify import READS, pieces
from ktrain.errors import StorageError
from ktrain.storage import Storage


@dataclass(frozen=True, slots=True)
class Place:
    """Where a chunk goes: its tensor, and the open files with the bytes where that begins."""

    entry: TensorEntry
    chunk: Chunk
    targets: tuple[tuple[int, int], ...]

    def put(self, data: memoryview, at: int) -> None:
        """Writes what a stretch of the object, which begins at byte `at`, holds of the chunk."""
        begin, end = max(at, self.chunk.begin), min(at + len(data), self.chunk.end)
        if begin >= end:
            return
        width = ITEM_BYTES[self.entry.dtype]
        first, last = begin - self.chunk.begin, end - self.chunk.begin
        for inside, outside, length in runs(self.chunk.box, self.entry.shape):
            low, high = max(inside * width, first), min((inside + length) * width, last)
            if low < high:
                piece = data[self.chunk.begin + low - at : self.chunk.begin + high - at]
                for file, start in self.targets:
                    _write(file, piece, start + outside * width + low - inside * width)


def export(
    storage: Storage, manifest: Manifest, parts: tuple[Part, ...], out: Path, *, on_bytes: Callable[[int], object]
) -> None:
    """Into a new folder; every byte is checked first. StorageError when it is there already or cannot be written.

    CheckpointError names what is damaged. Then there is no folder.
    """
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise StorageError(f"{out} is there already; name a new folder")
        begun = Path(tempfile.mkdtemp(prefix=f".{out.name}-", dir=out.parent))
        try:
            _fill(storage, manifest, parts, begun, on_bytes)
            begun.chmod(0o755)
            begun.rename(out)
        except BaseException:
            shutil.rmtree(begun, ignore_errors=True)
            raise
    except OSError as error:
        raise StorageError(f"{out} cannot be written: {error.strerror or error}") from error


def wanted_bytes(manifest: Manifest, parts: tuple[Part, ...]) -> int:
    """What has to be read: the pieces of objects that hold any of the weights."""
    return sum(end - begin for _, begin, end in _reads(manifest, _places(manifest, dict.fromkeys(parts, 0))))


def _fill(
    storage: Storage, manifest: Manifest, parts: tuple[Part, ...], folder: Path, on_bytes: Callable[[int], object]
) -> None:
    files = {part: os.open(folder / part.name, os.O_RDWR | os.O_CREAT, 0o644) for part in parts}
    try:
        for part, file in files.items():
            os.truncate(file, part.size)
            _write(file, memoryview(part.head), 0)
        places = _places(manifest, files)

        def move(number: int, begin: int, end: int) -> None:
            data = read_blocks(storage, manifest.objects[number], begin, end)
            for place in places[number]:
                place.put(data, begin)
            on_bytes(len(data))

        with ThreadPoolExecutor(READS, "ktrain-export") as pool:
            tasks = [pool.submit(move, *it) for it in _reads(manifest, places)]
            try:
                for task in tasks:
                    task.result()
            except BaseException:
                pool.shutdown(cancel_futures=True)
                raise
        for file in files.values():
            os.fsync(file)
    finally:
        for file in files.values():
            os.close(file)
    if len(parts) > 1:
        (folder / INDEX).write_text(json.dumps(index(parts), indent=2, sort_keys=True) + "\n")


def _reads(manifest: Manifest, places: Mapping[int, Sequence[Place]]) -> Iterator[tuple[int, int, int]]:
    """(object, begin, end) of what holds any of the weights."""
    for number, of in places.items():
        for begin, end in pieces(manifest.objects[number]):
            if any(place.chunk.begin < end and begin < place.chunk.end for place in of):
                yield number, begin, end


def _places(manifest: Manifest, files: Mapping[Part, int]) -> dict[int, list[Place]]:
    """By object."""
    found: dict[int, list[Place]] = {}
    for name, entry in manifest.tensors.items():
        targets = tuple((file, begin) for part, file in files.items() for begin in part.begins.get(name, ()))
        if targets:
            for chunk in entry.chunks:
                found.setdefault(chunk.object, []).append(Place(entry, chunk, targets))
    return found


def _write(file: int, data: memoryview, at: int) -> None:
    while len(data):
        done = os.pwrite(file, data, at)
        data, at = data[done:], at + done
