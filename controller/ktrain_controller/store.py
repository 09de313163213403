"""What is known of one kind of objects, for every thread, kept in step by one reflector."""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final, Generic, Protocol, TypeVar

from ktrain_controller.project import Event

MAX_GRAVES: Final = 10_000


class Item(Protocol):
    """What a store has to know of its objects. Those that have a `uid` are told apart by it, too."""

    @property
    def key(self) -> str:
        """Unique at any one time."""

    @property
    def version(self) -> str:
        """The API server's."""


T = TypeVar("T", bound=Item)
Listener = Callable[[T | None, T | None], object]


@dataclass(frozen=True, slots=True)
class Change(Generic[T]):
    """Of one object: `old` is None when it is new, `new` is None when it is gone."""

    old: T | None
    new: T | None


@dataclass(frozen=True, slots=True)
class _Grave:
    """Of a deleted object: word of its life that comes late must not raise it."""

    uid: str
    version: str


class Store(Generic[T]):
    """A dictionary by `item.key`, and by whatever `index` says of an item."""

    def __init__(self, index: Callable[[T], str] | None = None) -> None:
        self._index = index
        self._items: dict[str, T] = {}
        self._groups: defaultdict[str, dict[str, T]] = defaultdict(dict)
        self._graves: dict[str, _Grave] = {}
        self._listeners: list[Listener[T]] = []
        self._lock = threading.Lock()
        self._turn = threading.RLock()  # held while listeners are told, so that they hear of changes in their order

    def __len__(self) -> int:
        return len(self._items)

    def get(self, key: str) -> T | None:
        """One object, or None."""
        with self._lock:
            return self._items.get(key)

    def all(self) -> tuple[T, ...]:
        """All objects, as they are now."""
        with self._lock:
            return tuple(self._items.values())

    def of(self, group: str) -> tuple[T, ...]:
        """The objects of which the index says `group`."""
        with self._lock:
            return tuple(self._groups.get(group, {}).values())

    def listen(self, on_change: Listener[T]) -> None:
        """Calls `on_change(old, new)` after every change from now on, in the thread that made it, without the lock."""
        self._listeners.append(on_change)

    def replace(self, items: Iterable[T]) -> list[Change[T]]:
        """A whole list is the truth, whatever the versions say: what it lacks is gone, after a backup was restored too."""
        with self._turn:
            with self._lock:
                found = {item.key: item for item in items}
                gone = [Change(old, None) for key, old in self._items.items() if key not in found]
                come = [Change(self._items.get(key), new) for key, new in found.items()]
                changes = gone + [change for change in come if change.old != change.new]
                for change in changes:
                    self._put(change)
                self._graves.clear()
            self._tell(changes)
        return changes

    def apply(self, event: Event[T]) -> Change[T] | None:
        """One event of a watch; None when it says nothing new: seen before, or older than what is known."""
        item = event.item
        if item is None:
            return None
        with self._turn:
            with self._lock:
                change = self._ended(item) if event.type == "DELETED" else self._seen(item)
                if change:
                    self._put(change)
            self._tell([change] if change else [])
        return change

    def _seen(self, item: T) -> Change[T] | None:
        known, grave = self._items.get(item.key), self._graves.get(item.key)
        if grave and (_is_same(grave.uid, _uid(item)) or not _is_newer(item.version, grave.version)):
            return None
        if known and not _is_newer(item.version, known.version):
            return None
        return Change(known, item)

    def _ended(self, item: T) -> Change[T] | None:
        known, grave = self._items.get(item.key), self._graves.get(item.key)
        if known and not _is_same(_uid(known), _uid(item)) and _is_newer(known.version, item.version):
            return None  # one of the same name has come since
        if not grave or _is_newer(item.version, grave.version):
            self._bury(item)
        return Change(known, None) if known else None

    def _bury(self, item: T) -> None:
        self._graves.pop(item.key, None)
        self._graves[item.key] = _Grave(_uid(item), item.version)
        if len(self._graves) > MAX_GRAVES:
            del self._graves[next(iter(self._graves))]

    def _put(self, change: Change[T]) -> None:
        if change.old:
            self._drop(change.old)
        if change.new:
            self._items[change.new.key] = change.new
            if self._index:
                self._groups[self._index(change.new)][change.new.key] = change.new

    def _drop(self, item: T) -> None:
        del self._items[item.key]
        if not self._index:
            return
        group = self._index(item)
        del self._groups[group][item.key]
        if not self._groups[group]:
            del self._groups[group]

    def _tell(self, changes: list[Change[T]]) -> None:
        for change in changes:
            for listener in tuple(self._listeners):
                listener(change.old, change.new)


def _uid(item: Item) -> str:
    return getattr(item, "uid", "")


def _is_same(uid: str, other: str) -> bool:
    """A node has no uid here: then nothing but the version tells."""
    return bool(uid) and uid == other


def _is_newer(version: str, than: str) -> bool:
    """Versions of one kind count up; one that is no number can only be compared for being another."""
    return int(version) > int(than) if version.isdecimal() and than.isdecimal() else version != than
