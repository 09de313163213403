"""Keys and values that the launchers of a job share: what they can ask, and the table that answers on node 0."""

import threading
from typing import Protocol


class KeyValues(Protocol):
    """Each word is one atomic step. Elsewhere than on node 0 each raises OSError when the table cannot be reached."""

    def get(self, *keys: str) -> list[str | None]:
        """The values, None for a key that nobody has set."""
        ...

    def put(self, key: str, value: str) -> None:
        """Sets a value."""
        ...

    def put_first(self, key: str, value: str) -> str:
        """Sets it if nobody has; the value that holds."""
        ...

    def swap(self, key: str, old: str, new: str) -> str:
        """Sets `new` if the value is `old`; the value that holds. KeyError for a key that nobody has set."""
        ...

    def add(self, key: str, amount: int) -> int:
        """Adds to a number that begins at 0; the sum."""
        ...

    def will(self, key: str, value: str) -> None:
        """What is set when whoever asks has gone, however that comes: its connection has ended. Node 0's own is with the table."""
        ...


class Table:
    """In memory, for all threads."""

    def __init__(self) -> None:
        self._values: dict[str, str] = {}
        self._lock = threading.Lock()

    def get(self, *keys: str) -> list[str | None]:
        with self._lock:
            return [self._values.get(key) for key in keys]

    def put(self, key: str, value: str) -> None:
        with self._lock:
            self._values[key] = value

    def put_first(self, key: str, value: str) -> str:
        with self._lock:
            return self._values.setdefault(key, value)

    def swap(self, key: str, old: str, new: str) -> str:
        with self._lock:
            if self._values[key] == old:
                self._values[key] = new
            return self._values[key]

    def add(self, key: str, amount: int) -> int:
        with self._lock:
            total = int(self._values.get(key, "0")) + amount
            self._values[key] = str(total)
            return total

    def will(self, key: str, value: str) -> None:
        pass  # whoever asks in this process goes with the table
