"""Where the time of a rank goes, how fast it is, and the snapshot that its launcher serves."""

import bisect
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from ktrain.snapshot import STEP_BUCKETS, Phase, Sender, Snapshot
from ktrain_trainer.progress import Progress

SEND_EVERY: Final = 0.5  # seconds; more often tells nobody anything
_RSS_UNIT: Final = 1 if sys.platform == "darwin" else 1024


class Meter:
    """One per rank; costs a step a few microseconds and never touches the device."""

    def __init__(self, snapshot: Snapshot, sender: Sender | None, *, total_steps: float) -> None:
        self.snapshot = snapshot
        self._sender = sender
        self._sent = 0.0
        self._since = _Interval()
        self._counted = time.perf_counter()
        snapshot.began_at = time.time()
        snapshot.total_steps = total_steps
        self.tell()

    @contextmanager
    def phase(self, phase: Phase) -> Iterator[None]:
        """Names what the rank is doing, until the end of the block; for what lasts longer than a step."""
        before = self.snapshot.phase
        self.enter(phase)
        self.tell()
        try:
            yield
        finally:
            self.enter(before)
            self._since.skip()
            self.tell()

    def enter(self, phase: Phase) -> None:
        """Names what the rank does from now on."""
        self._count()
        self.snapshot.phase = phase

    @property
    def train_seconds(self) -> float:
        """Time in steps until now, without waits for data."""
        self._count()
        return max(0.0, self.snapshot.phase_seconds.get("train", 0.0) - self.snapshot.data_wait_seconds)

    def waited(self, seconds: float) -> None:
        """Time that the step spent waiting for data."""
        self.snapshot.data_wait_seconds += seconds
        self._since.data_seconds += seconds

    def waited_for_peers(self, seconds: float) -> None:
        """Time that the step spent waiting for other ranks."""
        self.snapshot.peer_wait_seconds += seconds

    def step_done(self, progress: Progress, *, samples: int, tokens: float) -> float:
        """Counts a step and, now and then, tells the launcher; its time in seconds."""
        now = time.perf_counter()
        seconds = self._since.step(now, samples, tokens)
        snapshot = self.snapshot
        snapshot.step, snapshot.samples, snapshot.tokens = progress.step, progress.samples, progress.tokens
        snapshot.step_seconds_sum += seconds
        snapshot.step_counts[bisect.bisect_left(STEP_BUCKETS, seconds)] += 1
        snapshot.last_step_at = time.time()
        progress.seconds += seconds
        if now - self._sent >= SEND_EVERY:
            self.tell()
        return seconds

    def save_seconds(self) -> float:
        """What a checkpoint has taken on average until it was durable; 0 before the first."""
        return self.snapshot.checkpoint_seconds / max(1, self.snapshot.checkpoints)

    def interval(self) -> dict[str, float]:
        """Rates since the last call, for the training curve."""
        rates, self._since = self._since.rates(), _Interval()
        self.snapshot.samples_per_second = rates["samples_per_second"]
        self.snapshot.tokens_per_second = rates["tokens_per_second"]
        return rates

    def progressed(self, share: float) -> None:
        """Share of the run that is done, and from the pace so far when it will end."""
        self.snapshot.progress = share
        rate = self.snapshot.samples_per_second
        if share > 0 and rate > 0:
            self.snapshot.eta_seconds = self.snapshot.samples * (1 - share) / share / rate

    def tell(self) -> None:
        """Pushes the snapshot to the launcher, if there is one that listens."""
        self._sent = time.perf_counter()
        if self._sender:
            self._count()
            self.snapshot.memory_bytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _RSS_UNIT
            self._sender.send(self.snapshot)

    def _count(self) -> None:
        now, spent = time.perf_counter(), self.snapshot.phase_seconds
        spent[self.snapshot.phase] = spent.get(self.snapshot.phase, 0.0) + now - self._counted
        self._counted = now


class _Interval:
    """Sums between two records of the training curve."""

    def __init__(self) -> None:
        self.steps = 0
        self.samples = 0
        self.tokens = 0.0
        self.seconds = 0.0
        self.data_seconds = 0.0
        self._last = time.perf_counter()

    def step(self, now: float, samples: int, tokens: float) -> float:
        seconds, self._last = now - self._last, now
        self.steps += 1
        self.samples += samples
        self.tokens += tokens
        self.seconds += seconds
        return seconds

    def skip(self) -> None:
        """What lies between the last step and now belongs to no step."""
        self._last = time.perf_counter()

    def rates(self) -> dict[str, float]:
        seconds = max(self.seconds, 1e-9)
        return {
            "step_seconds": self.seconds / max(self.steps, 1),
            "data_seconds": self.data_seconds / max(self.steps, 1),
            "samples_per_second": self.samples / seconds,
            "tokens_per_second": self.tokens / seconds,
        }
