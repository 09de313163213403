"""Pods that ended lately, as they were when they did: the operator takes failed ones away within a second."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from ktrain_controller.incidents import SETTLE_SECONDS, Kind, kind
from ktrain_controller.model import Job, Pod

KEPT_SECONDS: Final = SETTLE_SECONDS + 180.0  # a controller that takes over late still judges it
EXPLAINS_SECONDS: Final = 2 * KEPT_SECONDS
"""A pod that was taken away explains ends that came after it, and were heard of later: it has to outlive them."""

MAX_PER_JOB: Final = 2000


_Known = dict[str, tuple[float, Pod]]  # uid → when it was heard, the pod


class Ends:
    """Hears of every change of a pod; `now` is the API server's time. What is remembered goes by `clock`: it is never set."""

    def __init__(self, now: Callable[[], float], clock: Callable[[], float] = time.monotonic) -> None:
        self._now, self._clock = now, clock
        self._lock = threading.Lock()
        self._found: dict[str, _Known] = {}  # by owner
        self._tidied = clock()

    def __len__(self) -> int:
        """Jobs of which an end is remembered."""
        return len(self._found)

    def hear(self, old: Pod | None, new: Pod | None) -> None:
        """The first word of an end counts: what comes later is about its cleaning up."""
        now = self._now()
        with self._lock:
            self._tidy()
            # After a list that came late, another pod may have the same name: then the old one went before that was made.
            if old is not None and (new is None or new.uid != old.uid):
                self._note_gone(old, min(now, new.created) if new else now, now)
            if new is not None and _is_ending(new):
                self._note(new, now)

    def follow(self, old: Job | None, new: Job | None) -> None:
        """A job changed: one of the same name has nothing to do with the ends of the one before. A standby hears it too."""
        if old is not None and (new is None or new.uid != old.uid):
            self.drop(old.key)

    def of(self, owner: str) -> tuple[Pod, ...]:
        """Of this job, the first one first."""
        clock = self._clock()
        with self._lock:
            known = _fresh(self._found.get(owner, {}), clock)
            self._found.pop(owner, None)
            if known:
                self._found[owner] = known
        return tuple(pod for _, pod in known.values())

    def drop(self, owner: str) -> None:
        """A job that is suspended, or done, has no ends that matter."""
        with self._lock:
            self._found.pop(owner, None)

    def _tidy(self) -> None:
        """Nobody asks a standby, and of jobs that are gone nobody asks at all: their pods end after them."""
        clock = self._clock()
        if clock - self._tidied >= EXPLAINS_SECONDS:
            self._tidied = clock
            self._found = {owner: left for owner, known in self._found.items() if (left := _fresh(known, clock))}

    def _note(self, pod: Pod, now: float) -> None:
        known = self._found.setdefault(pod.owner, {})
        if pod.uid not in known and len(known) < MAX_PER_JOB:
            known[pod.uid] = (self._clock(), _dated(pod, now))

    def _note_gone(self, pod: Pod, at: float, now: float) -> None:
        """Until then its peers may have lost it. A failure was heard of when it happened, perhaps long ago."""
        if pod.phase in {"Failed", "Succeeded"}:
            return
        self._note(_dated(pod, at), now)
        known = self._found[pod.owner]
        if pod.uid in known:
            known[pod.uid] = (self._clock(), replace(known[pod.uid][1], deleting=at))


def _is_ending(pod: Pod) -> bool:
    return pod.phase in {"Failed", "Succeeded"} or pod.deleting is not None


def _fresh(known: _Known, clock: float) -> _Known:
    return {uid: it for uid, it in known.items() if it[0] > clock - _kept(it[1])}


def _kept(pod: Pod) -> float:
    return EXPLAINS_SECONDS if kind(pod) is Kind.FREE else KEPT_SECONDS


def _dated(pod: Pod, now: float) -> Pod:
    """An end of which nobody says when it was: now, and not anew at each look."""
    return pod if pod.exit is not None or pod.deleted is not None else replace(pod, deleted=now)
