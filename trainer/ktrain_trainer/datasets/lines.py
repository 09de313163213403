"""The lines of text files by number: an index of byte offsets, built once a machine and mapped into memory."""

import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import xxhash

from ktrain.errors import DataError
from ktrain_trainer.datasets.files import Mapped, short_names

Offsets = npt.NDArray[np.int64]
_CHUNK_BYTES: Final = 1 << 24


class Lines:
    """Non-empty lines of several files, as bytes without their ends."""

    def __init__(self, paths: Sequence[Path], where: str) -> None:
        self.paths = tuple(paths)
        self._files = [Mapped(path) for path in paths]
        self._names = short_names(paths)
        self._spans = [_index(path, where) for path in paths]
        self._ends = np.cumsum([len(spans) for spans in self._spans])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> bytes:
        number, (begin, end) = self._span(index)
        return self._files[number][begin:end]

    def __iter__(self) -> Iterator[bytes]:
        return (self[index] for index in range(len(self)))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_spans": [np.asarray(spans) for spans in self._spans]}

    def place(self, index: int) -> str:
        """file:line, counted from 1 as editors do."""
        number, (begin, _) = self._span(index)
        before = self._files[number][0:begin].count(b"\n")
        return f"{self.paths[number]}:{before + 1}"

    def identity(self, index: int) -> str:
        """The file's name and where the line begins in it."""
        number, (begin, _) = self._span(index)
        return f"{self._names[number]}\0{begin}"

    def _span(self, index: int) -> tuple[int, tuple[int, int]]:
        number = int(np.searchsorted(self._ends, index, side="right"))
        begin, end = self._spans[number][index - (self._ends[number - 1] if number else 0)]
        return number, (int(begin), int(end))


def _index(path: Path, where: str) -> Offsets:
    """(begin, end) of each non-empty line; shape (lines, 2)."""
    try:
        cached = _cache(path)
        if not cached.exists():
            _write(cached, _scan(path))
        spans: Offsets = np.load(cached, mmap_mode="r")
    except (OSError, ValueError) as error:
        if not os.access(path, os.R_OK):
            raise DataError(f"{path} cannot be read: {error}", where) from error
        return _scan(path)  # nowhere to write: the index is kept in memory
    return spans


def _cache(path: Path) -> Path:
    """A name that changes with the file; in a folder of this user's own."""
    seen = path.stat()
    seen_as = f"{path.resolve()}\0{seen.st_size}\0{seen.st_mtime_ns}\0{seen.st_ino}"
    name = xxhash.xxh3_64_hexdigest(seen_as.encode())
    folder = Path(tempfile.gettempdir()) / f"ktrain-index-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to somebody else")
    return folder / f"{name}.npy"


def _write(path: Path, spans: Offsets) -> None:
    """Whole or not at all: several ranks may build it at once, and each result is the same."""
    with tempfile.NamedTemporaryFile(dir=path.parent, suffix=".npy", delete=False) as file:
        np.save(file, spans)
    Path(file.name).replace(path)


def _scan(path: Path) -> Offsets:
    ends, size = [], path.stat().st_size
    with path.open("rb") as file:
        for at in range(0, size, _CHUNK_BYTES):
            ends.append(np.flatnonzero(np.frombuffer(file.read(_CHUNK_BYTES), np.uint8) == ord("\n")) + at)
    newlines = np.concatenate(ends) if ends else np.empty(0, np.int64)
    begins = np.concatenate([[0], newlines + 1]).astype(np.int64)
    spans = np.stack([begins, np.concatenate([newlines, [size]]).astype(np.int64)], axis=1)
    return _without_returns(path, spans)


def _without_returns(path: Path, spans: Offsets) -> Offsets:
    """Without the \\r of files from Windows, and without empty lines."""
    if path.stat().st_size:
        text = np.memmap(path, np.uint8, mode="r")
        filled = spans[:, 1] > spans[:, 0]
        spans[filled, 1] -= text[spans[filled, 1] - 1] == ord("\r")
    return spans[spans[:, 1] > spans[:, 0]]
