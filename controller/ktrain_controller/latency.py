"""How long restarts take, from their decision until the whole gang runs again."""

import threading
from collections.abc import Callable

from ktrain_controller.decision import Decision, Restart, Suspend
from ktrain_controller.observation import Observation


class Latency:
    """Of this replica's own decisions: one that another has made was begun on its watch."""

    def __init__(self, observe: Callable[[float], object]) -> None:
        self._observe = observe
        self._lock = threading.Lock()
        self._begun: dict[str, tuple[float, int]] = {}  # job → when, and the attempt that its new pods carry

    def begin(self, decision: Decision, seen: Observation) -> None:
        """It was carried out."""
        if isinstance(decision.deed, Restart | Suspend):
            with self._lock:
                self._begun.setdefault(seen.job.key, (seen.now, seen.job.attempt + 1))

    def look(self, seen: Observation) -> None:
        """Perhaps its gang runs by now; a job that has ended, or that a user has suspended, is no longer waited for."""
        key = seen.job.key
        if key not in self._begun:
            return
        begun, attempt = self._begun[key]
        runs = seen.is_whole and any(pod.attempt >= attempt for pod in seen.pods)
        if runs:
            self._observe(seen.now - begun)
        if runs or seen.job.has_ended or (seen.job.is_suspended and seen.state.release is None):
            self.forget(key)

    def forget(self, key: str) -> None:
        """The job is gone."""
        with self._lock:
            self._begun.pop(key, None)
