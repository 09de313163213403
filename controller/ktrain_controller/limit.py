"""How much the controller may do in a time: requests that wait their turn, interruptions that are refused."""

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final

MINUTE: Final = 60.0


class Limiter:
    """A token bucket: `burst` at once, then `rate` per second, in the order in which they came."""

    def __init__(
        self,
        *,
        rate: float,
        burst: int,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        assert rate > 0, rate
        assert burst >= 1, burst
        self._rate, self._burst = rate, burst
        self._clock, self._sleep = clock, sleep
        self._lock = threading.Lock()
        self._tokens = float(burst)
        self._seen = clock()

    def wait(self) -> float:
        """Returns when it is the caller's turn, with the seconds that it took."""
        seconds = self._reserve()
        if seconds > 0:
            self._sleep(seconds)
        return seconds

    def _reserve(self) -> float:
        """Takes a token, also one that is not there yet: whoever comes next waits longer."""
        with self._lock:
            now = self._clock()
            self._tokens = min(self._burst, self._tokens + (now - self._seen) * self._rate)
            self._seen = now
            self._tokens -= 1
            return max(0.0, -self._tokens / self._rate)


class Allowance:
    """At most `per_minute` actions in any 60 seconds, over the whole fleet: a mad decision cannot stop everything."""

    def __init__(self, per_minute: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        assert per_minute >= 0, per_minute
        self._most, self._clock = per_minute, clock
        self._lock = threading.Lock()
        self._taken: deque[float] = deque()

    def take(self) -> bool:
        """Whether one more may be done now; if so it counts."""
        with self._lock:
            if self._free() <= 0:
                return False
            self._taken.append(self._clock())
            return True

    def give_back(self) -> None:
        """It was not done after all."""
        with self._lock:
            if self._taken:
                self._taken.pop()

    @property
    def left(self) -> int:
        """How many may be done now."""
        with self._lock:
            return self._free()

    def _free(self) -> int:
        while self._taken and self._taken[0] <= self._clock() - MINUTE:
            self._taken.popleft()
        return self._most - len(self._taken)
