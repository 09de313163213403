"""Node 0's account of the job's time: what it is at any moment, kept in storage for the launcher that comes after."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from ktrain.errors import StorageError
from ktrain.goodput import Account, Reason, newest
from ktrain.goodput.keep import key_of, until_death
from ktrain.names import Exit
from ktrain.snapshot import Snapshot
from ktrain.storage import Storage
from ktrain.voice import Say
from ktrain_launcher.shift import Shift

LOOK_SECONDS: Final = 1.0
WRITE_SECONDS: Final = 300.0  # at least so often; and at each commit, and when an epoch begins or ends

Chief = Callable[[], Snapshot | None]


class Ledger:
    """The agent says what begins and ends, the HTTP server asks; a thread of its own writes."""

    def __init__(self, account: Account, chief: Chief, *, tells: bool, now: Callable[[], float] = time.time) -> None:
        """account: until now. chief: what rank 0 has said last in this epoch."""
        self._account, self._chief, self._now = account, chief, now
        self._tells = tells
        self._doing: Reason = "start"
        self._shift: Shift | None = None
        self._highest: dict[str, float] = {}
        self._lock = threading.Lock()
        self.changes = 0

    def meet(self) -> None:
        """The rendezvous begins; one that another number of nodes has called for is part of that."""
        with self._lock:
            self._spend()
            self._doing = "scale" if self._doing == "scale" else "rendezvous"

    def begin(self) -> None:
        """New ranks have been started."""
        with self._lock:
            self._spend()
            self._doing, self._shift = "start", Shift(self._tells)
            self.changes += 1

    def end(self, code: int) -> None:
        """They have left, by an exit code of names.Exit."""
        with self._lock:
            if self._shift is None:
                return
            tail: Reason = "hang" if code == Exit.HANG else "lost_work"
            self._account = self._shift.added_to(self._account, self._chief(), self._now(), tail)
            self._doing, self._shift = "scale" if code == Exit.MEMBERSHIP else "rendezvous", None
            self.changes += 1

    def close(self, code: int) -> Account:
        """The launcher leaves; after code 0 nothing will be done again."""
        self.end(code)
        with self._lock:
            self._doing = "start" if code == Exit.DONE else self._doing
            self._spend()
            if code == Exit.DONE:
                self._account = self._account.settle(is_done=True)
            self._account = replace(self._account, is_closed=True)
            return self._account

    def left(self) -> Account:
        """The same, some moments later: others had to be waited for, and it was closed before."""
        with self._lock:
            self._account = self._account.spend("start", self._now())
            return self._account

    def account(self) -> Account:
        """As of now."""
        with self._lock:
            return self._current()

    def sums(self) -> Mapping[str, float]:
        """Seconds by reason as counters: clocks that were set make none of them smaller."""
        for name, seconds in self.account().seconds.items():
            self._highest[name] = max(self._highest.get(name, 0.0), seconds)
        return dict(self._highest)

    def _spend(self) -> None:
        self._account = self._current()

    def _current(self) -> Account:
        if self._shift is None:
            return replace(self._account.spend(self._doing, self._now()), doing=self._doing)
        chief = self._chief()
        return replace(self._shift.added_to(self._account, chief, self._now()), doing=self._shift.doing(chief))


def carried_on(run: Storage, *, submitted: float | None, bound: float, launched: float, say: Say) -> Account:
    """The job's account when this launcher begins: what is kept of it, the wait for this pod, and the pull of its image."""
    try:
        before = newest(run, submitted)
        before = until_death(run, before) if before else None
    except StorageError as error:
        say("storage_failed", key="time", error=error)
        before = None
    begin = bound if submitted is None else min(submitted, bound)
    begun = before or Account(begin, begin)
    waited = begun.spend("queue", bound).spend("pull", launched)
    return replace(waited, doing="start", is_closed=False)


class Keeper:
    """Writes the account down whenever that matters to the next launcher."""

    def __init__(self, ledger: Ledger, run: Storage, chief: Chief, *, launched: float, say: Say) -> None:
        self._ledger, self._run, self._chief, self._say = ledger, run, chief, say
        self._launched = launched
        self._closed = threading.Event()
        self._written: tuple[int, int] = (-1, -1)
        self._written_at = float("-inf")
        self._thread = threading.Thread(target=self._keep, name="ledger", daemon=True)
        self._thread.start()

    def close(self, code: int) -> None:
        """The last word."""
        self._closed.set()
        self._thread.join()
        self._write(self._ledger.close(code))

    def leave(self) -> None:
        """After the last word: nothing keeps this launcher any more."""
        self._write(self._ledger.left())

    def _keep(self) -> None:
        while not self._closed.wait(LOOK_SECONDS):
            chief = self._chief()
            now = (self._ledger.changes, chief.checkpoint_step if chief else -1)
            if now != self._written or time.monotonic() - self._written_at > WRITE_SECONDS:
                self._written, self._written_at = now, time.monotonic()
                self._write(self._ledger.account())

    def _write(self, account: Account) -> None:
        try:
            self._run.put(key_of(account.begin, self._launched), account.encode())
        except StorageError as error:  # a line in the log, never the job
            self._say("storage_failed", key="time", error=error)
