"""Which files a path stands for, and a short word for what is in them."""

import glob
import mmap
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import xxhash

from ktrain.errors import DataError

_SAMPLED_BYTES: Final = 1 << 16


def expand(path: str | Sequence[str], where: str) -> list[Path]:
    """The files and folders of a path or pattern, or of several; each pattern's in sorted order. Never empty."""
    patterns = [path] if isinstance(path, str) else list(path)
    return [found for pattern in patterns for found in _of_pattern(pattern, where)]


def files(path: str | Sequence[str], where: str) -> list[Path]:
    """As `expand`; DataError when one of them is a folder."""
    found = expand(path, where)
    for it in found:
        if it.is_dir():
            raise DataError(f"{it} is a folder; name the files in it, such as {it}/*", where)
    return found


def fingerprint(paths: Sequence[Path]) -> str:
    """A word that changes with names, sizes, beginnings or ends of the files, and not with where or when they lie."""
    digest = xxhash.xxh3_64()
    folder = os.path.commonpath([it.parent for it in paths])
    for it in paths:
        size = it.stat().st_size
        digest.update(f"{os.path.relpath(it, folder)}\0{size}\0".encode())
        with it.open("rb") as file:
            digest.update(file.read(_SAMPLED_BYTES))
            file.seek(max(0, size - _SAMPLED_BYTES))
            digest.update(file.read(_SAMPLED_BYTES))
    return digest.hexdigest()


def short_names(paths: Sequence[Path]) -> list[str]:
    """Names that tell the files apart and stay when the folder moves."""
    folder = os.path.commonpath([it.parent for it in paths])
    return [os.path.relpath(it, folder) for it in paths]


def read_text(path: Path, where: str) -> str:
    """The whole file; DataError when it cannot be read or is no UTF-8."""
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}", where) from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is no UTF-8 text at byte {error.start}", where) from error


class Mapped:
    """A file's bytes, mapped into memory; opened in each process that asks, so that it can be sent to workers."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._bytes: mmap.mmap | bytes | None = None

    def __len__(self) -> int:
        return len(self._open())

    def __getitem__(self, part: slice) -> bytes:
        return bytes(self._open()[part])

    def __reduce__(self) -> tuple[Any, ...]:
        return Mapped, (self.path,)

    def _open(self) -> mmap.mmap | bytes:
        if self._bytes is None:
            with self.path.open("rb") as file:  # an empty file cannot be mapped
                empty = os.fstat(file.fileno()).st_size == 0
                self._bytes = b"" if empty else mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        return self._bytes


def _of_pattern(pattern: str, where: str) -> list[Path]:
    if "://" in pattern:
        raise DataError(f"{pattern} is a URL; sources read local files: mount it as a volume, or copy it first", where)
    if not glob.has_magic(pattern):
        if not Path(pattern).exists():
            raise DataError(f"there is no {pattern} (looked in {Path.cwd()})", where)
        return [Path(pattern)]
    found = [Path(it) for it in sorted(glob.glob(pattern, recursive=True)) if Path(it).is_file()]  # noqa: PTH207  -- keeps a relative pattern relative
    if not found:
        raise DataError(f"no file matches {pattern} (looked in {Path.cwd()})", where)
    return found
