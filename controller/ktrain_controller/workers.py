"""Threads that look at the jobs that the queue names, while this replica leads."""

import threading
import time
import traceback
from collections.abc import Callable

from ktrain.errors import BusyError, ClusterError
from ktrain.voice import Say
from ktrain_controller.act import NotLeaderError
from ktrain_controller.metrics import Metrics
from ktrain_controller.queue import WorkQueue


class Workers:
    """A job that fails to be looked at is tried again, later each time; it keeps nobody else waiting."""

    def __init__(
        self, queue: WorkQueue, look: Callable[[str], float | None], *, may_act: Callable[[], bool], metrics: Metrics,
        say: Say,
    ) -> None:  # fmt: skip
        self._queue, self._look, self._may_act, self._metrics, self._say = queue, look, may_act, metrics, say
        self._threads: list[threading.Thread] = []

    def start(self, number: int) -> None:
        """So many."""
        self._threads = []
        for n in range(number):
            thread = threading.Thread(target=self._work, name=f"worker-{n}", daemon=True)
            thread.start()
            self._threads.append(thread)  # not before: the page of health would take it for dead

    @property
    def are_alive(self) -> bool:
        """Whether none has died of a bug."""
        return all(thread.is_alive() for thread in self._threads)

    def join(self, seconds: float) -> None:
        """The queue is closed: waits for what is under way."""
        end = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))

    def _work(self) -> None:
        while (key := self._queue.take()) is not None:
            try:
                if self._may_act():  # a standby keeps its stores warm; all keys come again when it leads
                    self._try(key)
            finally:
                self._queue.done(key)

    def _try(self, key: str) -> None:
        try:
            with self._metrics.reconcile.time():
                again = self._look(key)
        except NotLeaderError:
            return
        except BusyError as error:
            self._metrics.failures.labels("busy").inc()
            self._queue.add_after(key, error.after)
        except ClusterError as error:
            self._metrics.failures.labels("cluster").inc()
            self._say("look_failed", job=key, error=error)
            self._queue.add_failed(key)
        except Exception as error:  # noqa: BLE001  -- a bug that one job brings out must not cost the others
            self._metrics.failures.labels("bug").inc()
            self._say("bug", job=key, error=f"{type(error).__name__}: {error}", trace=traceback.format_exc())
            self._queue.add_failed(key)
        else:
            self._queue.forget(key)
            if again is not None:
                self._queue.add_after(key, again)
