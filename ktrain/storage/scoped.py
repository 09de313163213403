"""A storage inside a storage: every key below one prefix."""

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

from ktrain.storage.base import Data, Stat, Storage
from ktrain.storage.keys import check_folder, check_key, check_prefix


def scoped(storage: Storage, prefix: str) -> Storage:
    """The part of a storage below prefix/; keys inside are relative to it."""
    return _Scoped(storage, check_folder(prefix)) if prefix else storage


class _Scoped:
    def __init__(self, storage: Storage, prefix: str) -> None:
        self._storage, self._prefix = storage, prefix

    @property
    def url(self) -> str:
        return f"{self._storage.url.rstrip('/')}/{self._prefix.removesuffix('/')}"

    @property
    def is_fenced(self) -> bool:
        return self._storage.is_fenced

    def put(self, key: str, data: Data) -> str:
        return self._storage.put(self._full(key), data)

    def create(self, key: str, data: Data) -> str:
        return self._storage.create(self._full(key), data)

    def replace(self, key: str, data: Data, *, tag: str) -> str:
        return self._storage.replace(self._full(key), data, tag=tag)

    def get(self, key: str) -> tuple[bytes, str]:
        return self._storage.get(self._full(key))

    def read(self, key: str, begin: int, end: int) -> Data:
        return self._storage.read(self._full(key), begin, end)

    def stat(self, key: str) -> Stat | None:
        stat = self._storage.stat(self._full(key))
        return dataclasses.replace(stat, key=key) if stat else None

    def list(self, prefix: str = "") -> Iterator[Stat]:
        for stat in self._storage.list(self._prefix + check_prefix(prefix)):
            yield dataclasses.replace(stat, key=stat.key.removeprefix(self._prefix))

    def folders(self, prefix: str = "") -> Sequence[str]:
        return self._storage.folders(self._prefix + check_folder(prefix))

    def delete(self, keys: Iterable[str]) -> None:
        self._storage.delete(self._full(key) for key in keys)

    def delete_folder(self, folder: str) -> None:
        self._storage.delete_folder(self._full(folder.removesuffix("/")))

    def _full(self, key: str) -> str:
        return self._prefix + check_key(key)
