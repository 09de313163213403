"""A storage that fails, waits, stops or kills its process at a chosen call."""

import os
import signal
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NoReturn, TypeVar

from ktrain.errors import StorageError
from ktrain.storage import Data, Stat, Storage

T = TypeVar("T")


class WatchedStorage(ABC):
    """Passes all calls on through one place."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage

    @property
    def url(self) -> str:
        return self._storage.url

    @property
    def is_fenced(self) -> bool:
        return self._storage.is_fenced

    def put(self, key: str, data: Data) -> str:
        return self._do("put", key, lambda: self._storage.put(key, data))

    def create(self, key: str, data: Data) -> str:
        return self._do("create", key, lambda: self._storage.create(key, data))

    def replace(self, key: str, data: Data, *, tag: str) -> str:
        return self._do("replace", key, lambda: self._storage.replace(key, data, tag=tag))

    def get(self, key: str) -> tuple[bytes, str]:
        return self._do("get", key, lambda: self._storage.get(key))

    def read(self, key: str, begin: int, end: int) -> Data:
        return self._do("read", key, lambda: self._storage.read(key, begin, end))

    def stat(self, key: str) -> Stat | None:
        return self._do("stat", key, lambda: self._storage.stat(key))

    def list(self, prefix: str = "") -> Iterator[Stat]:
        return self._do("list", prefix, lambda: self._storage.list(prefix))

    def folders(self, prefix: str = "") -> Sequence[str]:
        return self._do("folders", prefix, lambda: self._storage.folders(prefix))

    def delete(self, keys: Iterable[str]) -> None:
        self._do("delete", "", lambda: self._storage.delete(keys))

    def delete_folder(self, folder: str) -> None:
        self._do("delete_folder", folder, lambda: self._storage.delete_folder(folder))

    @abstractmethod
    def _do(self, verb: str, key: str, act: Callable[[], T]) -> T:
        """The answer of the call."""


class FaultyStorage(WatchedStorage):
    """Passes calls on until the n-th (from 0) that the filter lets count; `after` lets that one happen first."""

    def __init__(
        self,
        storage: Storage,
        fail: Callable[[], object],
        *,
        at: int = 0,
        after: bool = False,
        only: str = "",
        for_ever: bool = True,
    ) -> None:
        super().__init__(storage)
        self._fail, self._at, self._after = fail, at, after
        self._only, self._for_ever = only, for_ever
        self._lock = threading.Lock()
        self.calls: list[str] = []

    def _do(self, verb: str, key: str, act: Callable[[], T]) -> T:
        call = "delete" if verb == "delete" else f"{verb} {key}"
        with self._lock:
            number = len(self.calls)
            if self._only in call:
                self.calls.append(call)
        is_hit = self._only in call and (number == self._at or (self._for_ever and number > self._at))
        if is_hit and not (self._after and number == self._at):
            self._fail()
        result = act()
        if is_hit:
            self._fail()
        return result


def die() -> NoReturn:
    """Ends this process as the out-of-memory killer does."""
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def refuse() -> NoReturn:
    """What a full disk does."""
    raise StorageError("the disk is full")
