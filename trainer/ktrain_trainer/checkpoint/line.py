"""Saves in the background: one at a time, in order, and of those that wait only the newest."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Final

from ktrain.errors import CheckpointError
from ktrain_trainer.checkpoint.staging import Slab

SLABS: Final = 2  # one that is being uploaded, one for the next save


@dataclass(frozen=True, slots=True)
class Job:
    """A save whose copy has begun."""

    slab: Slab
    run: Callable[[Callable[[], None]], None]  # is given what to call, once, when the slab is free again; never raises
    drop: Callable[[], None]  # instead of run


class Line:
    """One thread, as long as there is something to do."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._free: list[Slab] = []
        self._count = 0
        self._waiting: Job | None = None
        self._is_running = False

    def take_slab(self) -> Slab:
        """Memory for the next save; a save that still waits for its turn is dropped for it.

        CheckpointError when storage has not let go of any: it hangs in the middle of saves that have failed already.
        """
        with self._change:
            dropped, self._waiting = self._waiting, None
        if dropped:
            dropped.drop()
            self.give_back(dropped.slab)
        with self._change:
            if not self._free:
                if self._count == SLABS:
                    raise CheckpointError("storage hangs, and the copies of earlier saves are still in its hands")
                self._count += 1
                return Slab()
            return self._free.pop()

    def give_back(self, slab: Slab) -> None:
        """The slab may be used again."""
        with self._change:
            self._free.append(slab)

    def put(self, job: Job) -> None:
        """The job's turn comes when the one before is done."""
        with self._change:
            assert self._waiting is None
            self._waiting = job
            if self._is_running:
                return
            self._is_running = True
        threading.Thread(target=self._run, name="ktrain-save", daemon=True).start()

    def close(self) -> None:
        """Waits until nothing runs or waits."""
        with self._change:
            self._change.wait_for(lambda: not self._is_running)

    def _run(self) -> None:
        while job := self._next():
            job.run(partial(self.give_back, job.slab))

    def _next(self) -> Job | None:
        with self._change:
            job, self._waiting = self._waiting, None
            if job is None:
                self._is_running = False
                self._change.notify_all()
            return job
