"""Asks one pod of each job how it is, again and again."""

import json
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

from ktrain.errors import UnreachableError
from ktrain_controller import web
from ktrain_controller.beat import Beat, read_beat
from ktrain_controller.limit import Limiter
from ktrain_controller.observation import Silence
from ktrain_controller.queue import WorkQueue

RATE: Final = 50.0  # requests per second
INTERVAL: Final = 10.0  # of a job, while there are few
LONGEST_RETRY: Final = 60.0
TIMEOUT_SECONDS: Final = 2.0
MAX_BYTES: Final = 1 << 20
THREADS: Final = 16
_SHARE_SECONDS: Final = 1.0  # for so long a share of the fleet is good enough


def fetch(ip: str, port: int, timeout: float = TIMEOUT_SECONDS) -> dict[str, Any]:
    """A launcher's /status page; UnreachableError, with a reason, for all else."""
    page = web.get(web.Address(ip, port), "/status", seconds=timeout, max_bytes=MAX_BYTES)
    if page.status != 200:
        raise UnreachableError(f"HTTP {page.status} where a launcher's /status was expected")
    try:
        document = json.loads(page.body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise UnreachableError(f"the answer is no JSON object; is port {port} a launcher's?")
    return document


@dataclass(slots=True, eq=False)
class _Target:
    """One job's pod; another one when the pod is another."""

    ip: str
    port: int
    asked_at: float | None = None  # by the clock
    failures: int = 0  # in a row
    failed_at: float = 0.0  # the first of them, by the clock


class Scraper:
    """A few threads that ask. Callbacks come from them, for a forgotten job once more at most."""

    def __init__(
        self,
        *,
        on_beat: Callable[[str, Beat], object],
        on_silence: Callable[[str, str], object],
        rate: float = RATE,
        threads: int = THREADS,
        timeout: float = TIMEOUT_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._on_beat, self._on_silence = on_beat, on_silence
        self._rate, self._timeout = rate, timeout
        self._clock, self._wall = clock, wall
        self._lock = threading.Lock()
        self._targets: dict[str, _Target] = {}
        self._share = (float("-inf"), (0, 0))  # when, and what it was
        self._queue = WorkQueue(clock=clock)
        self._limiter = Limiter(rate=rate, burst=1, clock=clock, sleep=sleep)
        self._threads = [threading.Thread(target=self._work, name=f"scrape-{n}", daemon=True) for n in range(threads)]
        for thread in self._threads:
            thread.start()

    def watch(self, key: str, ip: str, port: int) -> None:
        """Asks there from now on; nothing new where it does so already. Another pod begins with a clean record."""
        with self._lock:
            known = self._targets.get(key)
            if known is not None and (known.ip, known.port) == (ip, port):
                return
            self._targets[key] = _Target(ip, port)
        self._queue.add(key)

    def forget(self, key: str) -> None:
        """Asks no more."""
        with self._lock:
            self._targets.pop(key, None)

    def ask_soon(self, key: str) -> None:
        """Before its time, in its turn."""
        if key in self._targets:
            self._queue.add(key)

    @property
    def interval(self) -> float:
        """Seconds between two answers of one job: the more jobs, the longer, so that the rate holds."""
        return max(INTERVAL, len(self._targets) / self._rate)

    def silence(self, key: str) -> Silence | None:
        """Since the first of its failures in a row; None when it answered last, or was not asked yet.

        Whoever wants to know may act on it: one that was not asked lately is asked again now. A clock that was set
        meanwhile makes no silence longer.
        """
        with self._lock:
            target = self._targets.get(key)
            if target is None or not target.failures:
                return None
            now = self._clock()
            is_old = target.asked_at is not None and now - target.asked_at >= INTERVAL
            since = self._wall() - (now - target.failed_at)
        if is_old:
            self._queue.add(key)
        return Silence(since, is_old)

    def silent_share(self) -> tuple[int, int]:
        """(silent, asked): of the jobs that were asked lately, so that a network that breaks is seen at once.

        When nobody answers each request takes its whole timeout, and going round takes long: jobs that answered
        before it broke say nothing of now. Those that did not answer last are silent, however seldom they are asked.
        """
        with self._lock:
            now = self._clock()
            if now - self._share[0] >= _SHARE_SECONDS:
                self._share = (now, self._count(now - 1.5 * self.interval - self._timeout))
            return self._share[1]

    def close(self) -> None:
        """Asks nobody any more; returns when the last request has ended."""
        self._queue.close()
        for thread in self._threads:
            thread.join()

    def _count(self, since: float) -> tuple[int, int]:
        silent = sum(it.failures > 0 for it in self._targets.values())
        answered = [it.asked_at for it in self._targets.values() if it.asked_at is not None and not it.failures]
        return silent, silent + sum(at >= since for at in answered)

    def _work(self) -> None:
        while (key := self._queue.take()) is not None:
            try:
                target = self._targets.get(key)
                if target is not None:
                    self._limiter.wait()
                    self._ask(key, target)
            finally:
                self._queue.done(key)

    def _ask(self, key: str, target: _Target) -> None:
        beat: Beat | None = None
        reason = ""
        try:
            beat = read_beat(fetch(target.ip, target.port, self._timeout), self._wall())
        except (UnreachableError, ValueError) as error:
            reason = f"{target.ip}:{target.port}: {error}"
        with self._lock:
            if self._targets.get(key) is not target:
                return  # forgotten, or another pod, which waits in the queue
            self._note(target, is_silent=beat is None)
            again = self._again(target)
        self._queue.add_after(key, again)
        if beat is not None:
            self._on_beat(key, beat)
        else:
            self._on_silence(key, reason)

    def _note(self, target: _Target, *, is_silent: bool) -> None:
        target.asked_at = self._clock()
        target.failures = target.failures + 1 if is_silent else 0
        if target.failures == 1:
            target.failed_at = target.asked_at

    def _again(self, target: _Target) -> float:
        """One lost request must not count as silence for a whole round; but the lost must not keep the others waiting."""
        if not target.failures:
            return self.interval
        return min(INTERVAL * 2.0 ** min(target.failures - 1, 10), max(LONGEST_RETRY, self.interval))
