"""Pods that ended lately, as they were when they did: the operator takes failed ones away within a second."""

import threading
from collections.abc import Callable
from dataclasses import replace
from typing import Final

from ktrain_controller.model import Pod

KEPT_SECONDS: Final = 180.0
MAX_PER_JOB: Final = 2000


class Ends:
    """Hears of every change of a pod; `now` is the API server's time."""

    def __init__(self, now: Callable[[], float]) -> None:
        self._now = now
        self._lock = threading.Lock()
        self._found: dict[str, dict[str, tuple[float, Pod]]] = {}  # owner → uid → when it was heard, the pod

    def hear(self, old: Pod | None, new: Pod | None) -> None:
        """The first word of an end counts: what comes later is about its cleaning up."""
        pod = _ended(old, new, self._now())
        if pod is None:
            return
        with self._lock:
            known = self._found.setdefault(pod.owner, {})
            if pod.uid not in known and len(known) < MAX_PER_JOB:
                known[pod.uid] = (self._now(), pod)

    def of(self, owner: str) -> tuple[Pod, ...]:
        """Of this job, the first one first."""
        since = self._now() - KEPT_SECONDS
        with self._lock:
            known = {uid: it for uid, it in self._found.get(owner, {}).items() if it[0] > since}
            self._found.pop(owner, None)
            if known:
                self._found[owner] = known
        return tuple(pod for _, pod in known.values())

    def drop(self, owner: str) -> None:
        """A job that is suspended, or done, has no ends that matter."""
        with self._lock:
            self._found.pop(owner, None)


def _ended(old: Pod | None, new: Pod | None, now: float) -> Pod | None:
    if new is None:
        assert old is not None
        return old if old.phase in {"Failed", "Succeeded"} or old.deleted is not None else replace(old, deleted=now)
    return new if new.phase in {"Failed", "Succeeded"} or new.deleting is not None else None
