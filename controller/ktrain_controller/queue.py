"""The queue of keys that somebody has to look at: each once, never by two workers, and later if so wished."""

import heapq
import random
import threading
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

FIRST_DELAY: Final = 0.005
LAST_DELAY: Final = 1000.0
LONGEST_WAIT: Final = 86_400.0
"""Who wishes for later is asked again: of what is decades away, by an annotation that somebody has garbled, no lock can wait."""

_DOUBLINGS: Final = 20  # enough to come from the first delay to the last
_SPARE: Final = 64  # outdated entries that are not worth tidying up


class WorkQueue:
    """Keys, not events: whoever takes one looks at what is true then, so that adding it twice is adding it once.

    Each key that was taken is to be given back with `done`.
    """

    def __init__(
        self,
        *,
        clock: Callable[[], float],  # monotonic, and the same seconds as the operating system's waits
        chance: Callable[[], float] = random.random,
        on_taken: Callable[[float], object] = lambda _seconds: None,  # how long the key was ready
    ) -> None:
        self._clock, self._chance, self._on_taken = clock, chance, on_taken
        self._changed = threading.Condition()
        self._ready: deque[str] = deque()
        self._since: dict[str, float] = {}  # of all that is to be looked at: those ready, and some being worked on
        self._working: set[str] = set()
        self._due: dict[str, float] = {}
        self._heap: list[tuple[float, str]] = []  # every due time ever wished for; valid where _due says the same
        self._failures: Counter[str] = Counter()
        self._has_timer = False  # one of those who wait watches the heap, and wakes the next: no herd
        self._is_closed = False
        self._retries = 0

    def add(self, key: str) -> None:
        """Now; what was to come later is thereby done."""
        with self._changed:
            self._due.pop(key, None)
            self._add(key, self._clock())

    def add_after(self, key: str, seconds: float) -> None:
        """Then, or in a day; the earlier wish wins."""
        if seconds <= 0:
            self.add(key)
            return
        with self._changed:
            self._delay(key, self._clock() + min(seconds, LONGEST_WAIT))

    def add_failed(self, key: str) -> None:
        """Later, and later each time until it is forgotten; not when all others come that failed with it."""
        with self._changed:
            delay = min(LAST_DELAY, FIRST_DELAY * 2 ** min(self._failures[key], _DOUBLINGS))
            self._failures[key] += 1
            self._retries += 1
            self._delay(key, self._clock() + delay * (1 + self._chance()) / 2)

    def forget(self, key: str) -> None:
        """It went well: its next failure is its first."""
        with self._changed:
            self._failures.pop(key, None)

    def take(self) -> str | None:
        """The key that has been ready for longest; waits for one. None: the queue is closed."""
        with self._changed:
            while not self._is_closed:
                self._ripen()
                if self._ready:
                    return self._take()
                self._wait()
            return None

    def done(self, key: str) -> None:
        """The worker has finished; if the key was added meanwhile it is ready again."""
        with self._changed:
            self._working.remove(key)
            if key in self._since:
                self._ready.append(key)
                self._changed.notify()

    def close(self) -> None:
        """Nobody is given anything any more."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    @property
    def depth(self) -> int:
        """Keys that somebody has to look at now."""
        with self._changed:
            self._ripen()
            return len(self._since)

    @property
    def longest_wait(self) -> float:
        """Seconds for which the oldest of them has been ready."""
        with self._changed:
            self._ripen()
            return self._clock() - min(self._since.values()) if self._since else 0.0

    @property
    def retries(self) -> int:
        """Failures since the beginning."""
        with self._changed:
            return self._retries

    def _add(self, key: str, since: float) -> None:
        if self._is_closed or key in self._since:
            return
        self._since[key] = since
        if key not in self._working:
            self._ready.append(key)
            self._changed.notify()

    def _delay(self, key: str, due: float) -> None:
        if self._is_closed or key in self._since or self._due.get(key, due + 1) <= due:
            return
        self._due[key] = due
        self._tidy()
        heapq.heappush(self._heap, (due, key))
        if self._heap[0] == (due, key):
            self._changed.notify_all()  # whoever watches the heap would sleep too long

    def _tidy(self) -> None:
        """A key that is put off again and again leaves an entry behind each time."""
        if len(self._heap) > 2 * len(self._due) + _SPARE:
            self._heap = [(due, key) for key, due in self._due.items()]
            heapq.heapify(self._heap)

    def _ripen(self) -> None:
        now = self._clock()
        while self._heap and (self._heap[0][0] <= now or not self._is_valid(self._heap[0])):
            due, key = entry = heapq.heappop(self._heap)
            if self._is_valid(entry):
                del self._due[key]
                self._add(key, due)

    def _is_valid(self, entry: tuple[float, str]) -> bool:
        return self._due.get(entry[1]) == entry[0]

    def _take(self) -> str:
        key = self._ready.popleft()
        self._working.add(key)
        self._on_taken(self._clock() - self._since.pop(key))
        if self._ready or (self._heap and not self._has_timer):
            self._changed.notify()  # the next one: to take, or to watch the heap
        return key

    def _wait(self) -> None:
        if self._has_timer or not self._heap:
            self._changed.wait()
            return
        self._has_timer = True
        try:
            self._changed.wait(max(0.0, self._heap[0][0] - self._clock()))
        finally:
            self._has_timer = False
