"""Runs the jobs of a study, so many at once, until there are no more or somebody wants it to end."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, Protocol

from ktrain.tune.work import Ended, Jobs, Seen, Work

TICK: Final = 0.2
LOOK_EVERY: Final = 1.0


class Plan(Protocol):
    """What decides about jobs; knows no process and no clock."""

    def next(self) -> Work | None:
        """The next job, None when there is none."""

    def seen(self, work: Work, seen: Seen) -> bool:
        """What a job has written so far; whether to stop it."""

    def ended(self, work: Work, ended: Ended, seen: Seen) -> None:
        """A job has ended, and this is all it wrote."""


class Interrupted(Protocol):
    """Counts how often somebody asked to stop."""

    count: int


@dataclass
class Drive:
    """The loop over jobs and signals; a first signal lets all save, a second ends them at once."""

    plan: Plan
    jobs: Jobs
    parallel: int
    interrupts: Interrupted
    tell: Callable[[str], None]
    tick: float = TICK  # between two looks
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    _running: dict[int, Work] = field(default_factory=dict)  # by slot
    _told_to_stop: set[str] = field(default_factory=set)
    _is_stopping: bool = False
    _looked_at: float = float("-inf")

    def run(self) -> bool:
        """Whether it came to its end; otherwise it was told to stop."""
        while True:
            self._hear()
            self._start()
            if not self._running:
                return not self._is_stopping
            self._look()
            self.sleep(self.tick)

    def _hear(self) -> None:
        if self.interrupts.count and not self._is_stopping:
            self._is_stopping = True
            if self._running:
                self.tell("saving and stopping; once more to stop at once")
            for work in self._running.values():
                self._ask(work, self.jobs.leave)
        if self.interrupts.count > 1:
            self.jobs.kill()

    def _start(self) -> None:
        while not self._is_stopping and len(self._running) < self.parallel and (work := self.plan.next()):
            slot = next(number for number in range(self.parallel) if number not in self._running)
            self.jobs.start(work, slot)
            self._told_to_stop.discard(work.name)
            self._running[slot] = work

    def _look(self) -> None:
        is_time = self.clock() - self._looked_at >= LOOK_EVERY
        if is_time:
            self._looked_at = self.clock()
        for slot, work in list(self._running.items()):
            if ended := self.jobs.look(work):
                del self._running[slot]
                self.plan.ended(work, ended, self.jobs.see(work))
            elif is_time and self.plan.seen(work, self.jobs.see(work)):
                self._ask(work, self.jobs.stop)

    def _ask(self, work: Work, to: Callable[[Work], None]) -> None:
        """Once: a job that is told to go a second time goes without saving."""
        if work.name not in self._told_to_stop:
            self._told_to_stop.add(work.name)
            to(work)
