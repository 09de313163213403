"""JSON lines from front to back: local files, also gzipped ones, and objects in S3, with a cursor of file and byte."""

import fnmatch
import gzip
import io
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

import xxhash

from ktrain.errors import DataError, NotFound, ShortRead
from ktrain.storage import Storage, open_storage
from ktrain_trainer.datasets import files
from ktrain_trainer.datasets.jsonl import parse
from ktrain_trainer.datasets.rows import Row

_CHUNK_BYTES: Final = 8 << 20
_MAGIC: Final = "*?["


class Line(NamedTuple):
    """A line and where it begins."""

    name: str
    offset: int
    text: bytes


class Part(Protocol):
    """One file of a stream."""

    @property
    def name(self) -> str:
        """For people."""

    def read(self, begin: int) -> Iterator[bytes]:
        """Its bytes from there on, in pieces."""


class JsonlStream:
    """The non-empty lines of all files, the files in sorted order; iterated again it begins again."""

    def __init__(self, path: str | Sequence[str], where: str, *, endpoint: str | None = None) -> None:
        """endpoint: of an S3 server that is not Amazon's."""
        patterns = [path] if isinstance(path, str) else list(path)
        self._parts = [part for pattern in patterns for part in _parts(pattern, where, endpoint)]
        self._next = (0, 0)  # file and byte of the line that comes next
        self._begin = (0, 0)

    def __iter__(self) -> Iterator[Line]:
        first, offset = self._begin
        self._begin = (0, 0)
        for number in range(first, len(self._parts)):
            part = self._parts[number]
            for begin, text in _lines(part.read(offset), offset):
                self._next = (number, begin + len(text))
                if stripped := text.strip():
                    yield Line(part.name, begin, stripped)
            offset = 0

    def state_dict(self) -> dict[str, int]:
        """Which file, and how many of its bytes were read."""
        return {"file": self._next[0], "byte": self._next[1]}

    def load_state_dict(self, state: Mapping[str, int]) -> None:
        """The next iteration goes on there."""
        self._begin = (state["file"], state["byte"])

    def fingerprint(self) -> str:
        """Of the files' names: their contents may be far away."""
        return xxhash.xxh3_64_hexdigest("\0".join(Path(part.name).name for part in self._parts).encode())


@dataclass(frozen=True)
class OneRow:
    """A line as rows of which there is one."""

    line: Line
    columns: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return 1

    def read(self, indices: Sequence[int]) -> list[Row]:
        """Parses it."""
        return [parse(self.line.text, lambda: self.place(0)) for _ in indices]

    def place(self, _index: int) -> str:
        """The file and the byte: who reads from the middle counts no lines."""
        return f"{self.line.name}, the line at byte {self.line.offset}"

    def identity(self, _index: int) -> str:
        """As its place."""
        return self.place(0)

    def values(self, column: str) -> list[Any]:
        """Of this row."""
        return [self.read([0])[0][column]]

    def fingerprint(self) -> str:
        """None of its own."""
        return ""


@dataclass(frozen=True)
class _File:
    path: Path

    @property
    def name(self) -> str:
        return str(self.path)

    def read(self, begin: int) -> Iterator[bytes]:
        try:
            with gzip.open(self.path) if self.path.suffix == ".gz" else self.path.open("rb") as file:
                file.seek(begin)
                while chunk := file.read(_CHUNK_BYTES):
                    yield chunk
        except (FileNotFoundError, gzip.BadGzipFile, EOFError, zlib.error) as error:  # others may pass: a network's
            raise DataError(f"{self.path} cannot be read: {error}", "spec.trainer.data.train") from None


@dataclass(frozen=True)
class _Object:
    storage: Storage
    key: str
    size: int

    @property
    def name(self) -> str:
        return f"{self.storage.url}/{self.key}"

    def read(self, begin: int) -> Iterator[bytes]:
        for at in range(begin, self.size, _CHUNK_BYTES):
            try:
                yield bytes(self.storage.read(self.key, at, min(at + _CHUNK_BYTES, self.size)))
            except (NotFound, ShortRead) as error:  # what else happens to a storage may pass
                raise DataError(f"{self.name} has changed: {error}", "spec.trainer.data.train") from error


def _parts(pattern: str, where: str, endpoint: str | None) -> list[Part]:
    if not pattern.startswith("s3://"):
        return [_File(path) for path in files.files(pattern, where)]
    bucket, _, key = pattern.removeprefix("s3://").partition("/")
    storage = open_storage(f"s3://{bucket}", endpoint=endpoint)
    fixed = key[: min((key.index(it) for it in _MAGIC if it in key), default=len(key))]
    if key.endswith(".gz"):
        raise DataError(f"{pattern}: objects in S3 are not unpacked; store them as they are, or mount them", where)
    found = sorted(storage.list(fixed), key=lambda it: it.key)
    matching: list[Part] = [_Object(storage, it.key, it.size_bytes) for it in found if fnmatch.fnmatchcase(it.key, key)]
    if not matching:
        raise DataError(f"no object matches {pattern}", where)
    return matching


def _lines(chunks: Iterator[bytes], offset: int) -> Iterator[tuple[int, bytes]]:
    """(where it begins, the line with its end)."""
    rest = b""
    for chunk in chunks:
        pieces = io.BytesIO(rest + chunk)
        rest = b""
        for line in pieces:
            if not line.endswith(b"\n"):
                rest = line
                break
            yield offset, line
            offset += len(line)
    if rest:
        yield offset, rest
