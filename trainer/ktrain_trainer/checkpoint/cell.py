"""Memory that a launcher holds open for a rank: the copy that was made in it last is there when the rank is no more."""

import mmap
import os
import struct
from dataclasses import dataclass
from typing import Final

import xxhash

_PAGE: Final = mmap.PAGESIZE
_MAGIC: Final = b"ktrain\x00\x01"
_HEAD: Final = struct.Struct("<8sQQQQQ")  # magic, bytes of the copy, of both texts, and both their XXH3-64
_CHECK: Final = struct.Struct("<Q")  # the head's own


@dataclass(frozen=True, slots=True)
class Held:
    """A whole copy, and what is said of it: as long as the layout stays, and for this copy alone."""

    data: memoryview
    lasting: bytes
    passing: bytes


class Cell:
    """One file in memory: a page for the head, the copy, and the texts behind it.

    The head is cleared before a copy begins and written when it is whole, so one that was cut short is none. Nothing is
    hashed but head and texts: memory keeps its bits as well as the tensors' own does.
    """

    def __init__(self, path: str) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        self._size = 0
        self._lasting = b""

    def map(self, size: int, lasting: bytes) -> memoryview:
        """Room for a copy of `size` bytes. A copy that was made under the same lasting text stays held."""
        held = self.held()
        if held is None or len(held.data) != size or held.lasting != lasting:
            held = None
            self.clear()
            os.ftruncate(self._fd, 0)  # the old goes before the new comes
            os.ftruncate(self._fd, _PAGE + size + len(lasting))
            os.pwrite(self._fd, lasting, _PAGE + size)
        self._size, self._lasting = size, lasting
        return self._mapping(size, populate=held is not None)

    def clear(self) -> None:
        """Nothing is held from here on."""
        os.pwrite(self._fd, bytes(_HEAD.size + _CHECK.size), 0)

    def seal(self, passing: bytes) -> None:
        """The copy is whole."""
        os.pwrite(self._fd, passing, _PAGE + self._size + len(self._lasting))
        head = _HEAD.pack(_MAGIC, self._size, len(self._lasting), len(passing), _hash(self._lasting), _hash(passing))
        os.pwrite(self._fd, head + _CHECK.pack(_hash(head)), 0)

    def held(self) -> Held | None:
        """The copy that is whole, if there is one."""
        head = os.pread(self._fd, _HEAD.size + _CHECK.size, 0)
        if len(head) < _HEAD.size + _CHECK.size or _CHECK.unpack(head[_HEAD.size :])[0] != _hash(head[: _HEAD.size]):
            return None
        magic, size, lasting_size, passing_size, lasting_hash, passing_hash = _HEAD.unpack(head[: _HEAD.size])
        lasting = os.pread(self._fd, lasting_size, _PAGE + size)
        passing = os.pread(self._fd, passing_size, _PAGE + size + lasting_size)
        if magic != _MAGIC or _hash(lasting) != lasting_hash or _hash(passing) != passing_hash:
            return None
        return Held(self._mapping(size, populate=False).toreadonly(), lasting, passing)

    def _mapping(self, size: int, *, populate: bool) -> memoryview:
        memory = mmap.mmap(self._fd, _PAGE + size, flags=mmap.MAP_SHARED | (mmap.MAP_POPULATE if populate else 0))
        memory.madvise(mmap.MADV_HUGEPAGE)
        return memoryview(memory)[_PAGE:]


def _hash(data: bytes) -> int:
    return xxhash.xxh3_64_intdigest(data)
