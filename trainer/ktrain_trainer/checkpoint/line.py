"""Saves in the background: one at a time, in order; one waits, which is the newest or one that must not be dropped."""

import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from ktrain.errors import CheckpointError
from ktrain_trainer.checkpoint.staging import Slab


@dataclass(frozen=True, slots=True)
class Job:
    """A save whose copy has begun."""

    slab: Slab
    run: Callable[[Callable[[], None]], None]  # is given what to call, once, when the slab is free again; never raises
    drop: Callable[[], None]  # instead of run
    may_drop: bool


class Line:
    """One thread, as long as there is something to do."""

    def __init__(self, slabs: Iterable[Slab]) -> None:
        """slabs: at least two, one that is being uploaded and one for the next save."""
        self._change = threading.Condition()
        self._free = list(slabs)
        self._waiting: Job | None = None
        self._is_running = False

    def take_slab(self, *, may_drop: bool = True) -> Slab | None:
        """The memory that is worth the least, for the next save; a save that still waits for its turn is dropped for it.

        None where the one that waits must not be dropped and the next one may be; where neither may, the next one waits
        until that one's turn has come. CheckpointError when storage has not let go of any memory: it hangs in the middle of
        saves that have failed already.
        """
        if not self._make_way(may_drop=may_drop):
            return None
        if slab := self.take_free():
            return slab
        raise CheckpointError("storage hangs, and the copies of earlier saves are still in its hands")

    def take_free(self) -> Slab | None:
        """The same, without dropping anything for it."""
        with self._change:
            if not self._free:
                return None
            slab = min(self._free, key=lambda slab: slab.worth)
            self._free.remove(slab)
            return slab

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

    def _make_way(self, *, may_drop: bool) -> bool:
        with self._change:
            if self._waiting and not self._waiting.may_drop:
                if may_drop:
                    return False
                self._change.wait_for(lambda: self._waiting is None)
            dropped, self._waiting = self._waiting, None
        if dropped:
            dropped.drop()
            self.give_back(dropped.slab)
        return True

    def _run(self) -> None:
        while job := self._next():
            job.run(partial(self.give_back, job.slab))

    def _next(self) -> Job | None:
        with self._change:
            job, self._waiting = self._waiting, None
            self._is_running = job is not None
            self._change.notify_all()
            return job
