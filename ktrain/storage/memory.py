"""Objects in this process's memory: for tests and dry runs, held to the same contract as the others."""

import hashlib
import itertools
import threading
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime

from ktrain.errors import Conflict, NotFound, ShortRead
from ktrain.storage.base import Data, Stat
from ktrain.storage.keys import check_folder, check_key, check_prefix


class MemoryStorage:
    """Storage that lives and dies with its process."""

    is_fenced = True
    url = "memory://here"

    def __init__(self) -> None:
        self._objects: dict[str, tuple[bytes, Stat]] = {}
        self._writes = itertools.count()
        self._lock = threading.Lock()

    def put(self, key: str, data: Data) -> str:
        """Writes the whole object."""
        with self._lock:
            return self._write(key, data)

    def create(self, key: str, data: Data) -> str:
        """Like put, but raises Conflict when the key exists."""
        with self._lock:
            if check_key(key) in self._objects:
                raise Conflict(f"{self.url}/{key}: exists already")
            return self._write(key, data)

    def replace(self, key: str, data: Data, *, tag: str) -> str:
        """Like put, but raises Conflict unless the object still has this tag."""
        with self._lock:
            seen = self.stat(key)
            if seen is None or seen.tag != tag:
                raise Conflict(f"{self.url}/{key}: changed by another writer")
            return self._write(key, data)

    def get(self, key: str) -> tuple[bytes, str]:
        """The whole object and its tag."""
        held = self._objects.get(check_key(key))
        if held is None:
            raise NotFound(f"{self.url}/{key}: no such object")
        return held[0], held[1].tag

    def read(self, key: str, begin: int, end: int) -> bytes:
        """Bytes [begin, end) of the object."""
        data = self.get(key)[0][begin:end]
        if len(data) < end - begin:
            raise ShortRead(
                f"{self.url}/{key}: ends at byte {begin + len(data)}, but bytes {begin} to {end} were expected"
            )
        return data

    def stat(self, key: str) -> Stat | None:
        """The object's size and tag, None when there is none."""
        held = self._objects.get(check_key(key))
        return held[1] if held else None

    def list(self, prefix: str = "") -> Iterator[Stat]:
        """All objects whose key begins with prefix, in key order."""
        check_prefix(prefix)
        for key in sorted(self._objects):
            if key.startswith(prefix) and (stat := self.stat(key)):
                yield stat

    def folders(self, prefix: str = "") -> Sequence[str]:
        """Names of the folders directly below prefix."""
        below = (key.removeprefix(check_folder(prefix)) for key in list(self._objects) if key.startswith(prefix))
        return sorted({key.split("/")[0] for key in below if "/" in key})

    def delete(self, keys: Iterable[str]) -> None:
        """Removes objects."""
        for key in keys:
            self._objects.pop(check_key(key), None)

    def delete_folder(self, folder: str) -> None:
        """Removes every object below folder/."""
        self.delete([stat.key for stat in self.list(check_folder(check_key(folder.removesuffix("/"))))])

    def _write(self, key: str, data: Data) -> str:
        content = bytes(data)
        tag = f"{next(self._writes)}-{hashlib.blake2b(content, digest_size=8).hexdigest()}"
        self._objects[check_key(key)] = (content, Stat(key, len(content), tag, datetime.now(UTC)))
        return tag
