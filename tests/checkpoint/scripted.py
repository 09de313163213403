"""A storage whose calls meet what a script wants, each call known by what it is about and the how-manieth of its kind."""

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from ktrain.storage import Stat, Storage
from tests.faultproxy.roles import role_of
from tests.faults import WatchedStorage

T = TypeVar("T")
_METHODS = {"list": "GET", "folders": "GET", "delete": "DELETE", "delete_folder": "DELETE"}


class KilledError(SystemExit):
    """Ends a thread without a word, past every `except Exception`, as SIGKILL ends a process."""


class Life:
    """A process as far as others can tell: once ended, nothing that it does has any effect."""

    def __init__(self) -> None:
        self._is_over = threading.Event()

    def end(self) -> None:
        self._is_over.set()

    @property
    def is_over(self) -> bool:
        return self._is_over.is_set()

    def check(self) -> None:
        """Goes on, or ends the thread that asks."""
        if self.is_over:
            raise KilledError


@dataclass(frozen=True, slots=True)
class Call:
    """One call of a storage, named so that it is found again in the next run whatever the order of threads."""

    verb: str
    role: str
    nth: int  # of those with its verb and role, from 0

    @property
    def is_write(self) -> bool:
        return self.verb in {"put", "create", "replace", "delete", "delete_folder"}

    def __str__(self) -> str:
        return f"{self.verb} {self.role} {self.nth}"


class Script(Protocol):
    """What happens at a call: it may act or not, raise, wait, or end lives."""

    def __call__(self, call: Call, act: Callable[[], T]) -> T:
        """The answer of the call."""


def nothing_happens(call: Call, act: Callable[[], T]) -> T:
    """The script of a good day."""
    return act()


class ScriptedStorage(WatchedStorage):
    """The storage of one rank; `one_at_a_time` makes its calls follow each other."""

    def __init__(
        self,
        storage: Storage,
        script: Script = nothing_happens,
        *,
        life: Life | None = None,
        one_at_a_time: bool = True,
    ) -> None:
        super().__init__(storage)
        self._script, self._life = script, life or Life()
        self._turn: Any = threading.RLock() if one_at_a_time else threading.Semaphore(1000)
        self._counting = threading.Lock()
        self._counts: Counter[tuple[str, str]] = Counter()
        self.calls: list[Call] = []

    def list(self, prefix: str = "") -> Iterator[Stat]:
        return self._do("list", prefix, lambda: iter(list(self._storage.list(prefix))))

    def delete(self, keys: Iterable[str]) -> None:
        for key in keys:
            self._delete(key)

    def delete_folder(self, folder: str) -> None:
        """Object by object, as on S3: a writer may die in between."""
        self._do("delete_folder", folder, lambda: self.delete([it.key for it in self._storage.list(f"{folder}/")]))

    def _delete(self, key: str) -> None:
        self._do("delete", key, lambda: self._storage.delete([key]))

    def _do(self, verb: str, key: str, act: Callable[[], T]) -> T:
        role = role_of(_METHODS.get(verb, ""), key, "list-type=2" if verb in {"list", "folders"} else "")
        with self._turn:
            self._life.check()
            with self._counting:
                call = Call(verb, role, self._counts[verb, role])
                self._counts[verb, role] += 1
                self.calls.append(call)
            answer = self._script(call, act)
            self._life.check()  # it was applied, and nobody is there to hear of it
            return answer
