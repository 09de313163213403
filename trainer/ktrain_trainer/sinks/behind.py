"""A tracker behind a bounded queue and a thread of its own: one that is slow or down never makes a step wait."""

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, Protocol

from ktrain_trainer.sinks.base import Record

log = logging.getLogger("ktrain")

BOUND: Final = 10_000  # records that wait, some 10 MB at most
AT_ONCE: Final = 500
EVERY_SECONDS: Final = 1.0  # between two deliveries: what comes meanwhile travels together
LONGEST_PAUSE: Final = 60.0
CLOSE_SECONDS: Final = 10.0  # metrics are not worth a pod's grace period
_TURNS: Final = frozenset({"start", "stop", "end"})  # few, and without them the tracker tells something wrong


class RefusedError(Exception):
    """The tracker will never take these records; others it may."""


class Remote(Protocol):
    """A tracker, as the thread knows it."""

    name: str

    def send(self, records: Sequence[Record]) -> None:
        """Delivers them, or raises; called with the same ones again unless it raised RefusedError."""

    def close(self) -> None:
        """Says how the run ended, by what was sent last."""


class Behind:
    """A sink that hands records to a tracker; beyond the bound they are dropped, counted, and told of once."""

    def __init__(self, remote: Remote, *, bound: int = BOUND, every: float = EVERY_SECONDS) -> None:
        self._remote, self._bound, self._every = remote, bound, every
        self._waiting: deque[Record] = deque()
        self._come = threading.Event()
        self._closing = threading.Event()
        self._is_away = False
        self.dropped = 0
        self._thread = threading.Thread(target=self._serve, name=f"ktrain-{remote.name}", daemon=True)
        self._thread.start()

    def write(self, record: Record) -> None:
        """Takes it, or counts it as dropped."""
        if len(self._waiting) >= self._bound and record["kind"] not in _TURNS:
            self.dropped += 1
            if self.dropped == 1:
                log.warning("%s: %d records wait; from now on new ones are dropped", self._remote.name, self._bound)
            return
        self._waiting.append(record)
        self._come.set()

    @property
    def is_waiting(self) -> bool:
        """Whether anything has not been delivered."""
        return bool(self._waiting)

    def flush(self) -> None:
        """The thread is at it already."""

    def close(self) -> None:
        """Waits for what is under way, but not for ever."""
        self._closing.set()
        self._come.set()
        self._thread.join(CLOSE_SECONDS)
        if self._thread.is_alive():
            log.warning("%s has not taken everything within %g s; the rest is lost", self._remote.name, CLOSE_SECONDS)

    def _serve(self) -> None:
        is_last = False
        while not is_last:
            self._come.wait()
            self._come.clear()
            is_last = self._closing.wait(self._every)
            self._deliver()
        if not self._waiting:
            self._succeeds(self._remote.close)

    def _deliver(self) -> None:
        """Until nothing waits; when told to end, without patience."""
        pause = max(self._every, 0.1)
        while self._waiting:
            batch = [self._waiting[at] for at in range(min(AT_ONCE, len(self._waiting)))]
            if self._succeeds(lambda batch=batch: self._remote.send(batch)):  # type: ignore[misc]
                for _ in batch:
                    self._waiting.popleft()
                pause = max(self._every, 0.1)
            elif self._closing.wait(pause):
                log.warning(
                    "%s is not to be reached: its last %d records are lost", self._remote.name, len(self._waiting)
                )
                return
            else:
                pause = min(LONGEST_PAUSE, 2 * pause)

    def _succeeds(self, deliver: Callable[[], None]) -> bool:
        """Whether nothing is left to be tried again; the first failure is told, and that it is over."""
        name = self._remote.name
        try:
            deliver()
        except RefusedError as error:
            log.warning("%s refuses what it is sent: %s", name, error)
        except Exception as error:  # noqa: BLE001  -- whatever a tracker's library raises: training goes on
            if not self._is_away:
                self._is_away = True
                log.warning("%s does not take metrics for now, training goes on: %s", name, _brief(error))
            return False
        if self._is_away:
            self._is_away = False
            log.warning("%s takes metrics again; %d records were dropped meanwhile", name, self.dropped)
        return True


def _brief(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".split("\n", 1)[0][:300]
