"""A signal sets a flag and nothing else; when to stop, or to save, is agreed by all ranks in the loop."""

import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Final, Self

_TAKEN: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2, signal.SIGURG)


class StopFlag:
    """Whether this process was told to go, to save, or to look closely. No collective, no lock, no logging in the handler."""

    def __init__(self) -> None:
        self.since: float | None = None  # monotonic, of the first signal
        self.wants_save = False  # until a save that was agreed on after the request
        self.wants_profile = False  # until one begins

    @property
    def is_set(self) -> bool:
        """Whether this process was told to go."""
        return self.since is not None

    def request(self) -> None:
        """What a signal does; also for those who stop us without one."""
        if self.since is None:
            self.since = time.monotonic()

    def listen(self) -> Self:
        """Takes over SIGTERM and SIGINT for good; call it in the main thread, before anything slow."""
        signal.signal(signal.SIGTERM, self._on_signal)
        signal.signal(signal.SIGINT, self._on_signal)
        signal.signal(signal.SIGUSR2, self._on_save)
        signal.signal(signal.SIGURG, self._on_profile)  # whoever does not know of it ignores it, by default
        return self

    @contextmanager
    def listening(self) -> Iterator[Self]:
        """Takes the signals over until the end of the block; in a thread, where Python has no signals, does nothing."""
        if threading.current_thread() is not threading.main_thread():
            yield self
            return
        before = {number: signal.getsignal(number) for number in _TAKEN}
        self.listen()
        try:
            yield self
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _on_signal(self, _signum: int, _frame: FrameType | None) -> None:
        self.request()

    def _on_save(self, _signum: int, _frame: FrameType | None) -> None:
        self.wants_save = True

    def _on_profile(self, _signum: int, _frame: FrameType | None) -> None:
        self.wants_profile = True


def ignore_in_worker() -> None:
    """For data-loader workers: the rank ends them; a signal to the group must not (olmoearth_pretrain#604)."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
