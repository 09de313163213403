"""That we were told to go: SIGTERM or SIGINT once to stop, SIGINT twice to abort."""

import signal
import time
from collections.abc import Callable
from types import FrameType
from typing import Final

TICK: Final = 0.05


class Stop:
    """Set by signals, read by everybody."""

    def __init__(self) -> None:
        self._signals: list[tuple[str, float]] = []

    def install(self) -> None:
        """Takes the two signals; only the main thread can."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)

    @property
    def is_requested(self) -> bool:
        """Whether to stop."""
        return bool(self._signals)

    @property
    def is_aborted(self) -> bool:
        """Whether to stop without waiting for anything."""
        return [name for name, _ in self._signals].count("SIGINT") > 1

    @property
    def reason(self) -> str:
        """The first signal's name."""
        return self._signals[0][0] if self._signals else ""

    @property
    def age(self) -> float:
        """Seconds since the first signal."""
        return time.monotonic() - self._signals[0][1] if self._signals else 0.0

    def request(self, name: str) -> None:
        """What a signal does; also for those who stop us without one."""
        self._signals.append((name, time.monotonic()))

    def wait(self, seconds: float, *, until: Callable[[], object] = lambda: False) -> bool:
        """Sleeps, but not past a request or `until`; whether there is one."""
        end = time.monotonic() + seconds
        while not self.is_requested and not until() and (rest := end - time.monotonic()) > 0:
            time.sleep(min(TICK, rest))
        return self.is_requested

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        # Only an append: a handler that takes a lock, as Event.set() does, can wait for itself for ever.
        self.request(signal.Signals(number).name)
