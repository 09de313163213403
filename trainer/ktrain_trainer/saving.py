"""When the run is saved, what a checkpoint of it holds, and how it is taken up again."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from ktrain.errors import CheckpointError, FencedError, FullError, StorageError, SupersededError
from ktrain.spec import Trainer
from ktrain_trainer import room
from ktrain_trainer.auto_every import AutoEvery
from ktrain_trainer.checkpoint import Checkpointer, Pending, Restored
from ktrain_trainer.every import Every
from ktrain_trainer.journal import Journal
from ktrain_trainer.meter import Meter
from ktrain_trainer.progress import Progress
from ktrain_trainer.world import World


@dataclass(frozen=True)
class State:
    """What a checkpoint is made of."""

    model: nn.Module
    optimizer: torch.optim.Optimizer
    progress: Progress
    extra: Mapping[str, torch.Tensor] = field(default_factory=dict)  # by their own names: the weights' average


class Saving:
    """Saves in the background; a failed save is told and tried again at the next occasion."""

    def __init__(
        self,
        spec: Trainer,
        world: World,
        checkpointer: Checkpointer | None,
        journal: Journal,
        meter: Meter,
        *,
        describe: Mapping[str, Any],
        check: Callable[[Mapping[str, Any]], None],
        done: Callable[[Progress], None],
        free: Callable[[], int | None],
        auto: AutoEvery | None = None,
    ) -> None:
        """describe: what every manifest says beside the progress; check: raises when a manifest does not fit this run.

        free: bytes that storage has left; None where nobody can say. auto: on rank 0, where the run decides when to save.
        """
        self._world = world
        self._checkpointer = checkpointer
        self._journal = journal
        self._meter = meter
        self._describe = describe
        self._check = check
        self._done = done
        self._free = free
        self._pending: list[Pending] = []  # on their way, the oldest first
        self.is_cold = checkpointer is not None  # until `warm`
        self._saved_step = -1
        self._every = Every(spec.checkpoint.spans if checkpointer else ())
        self.memory = Every(spec.checkpoint.memory_every if checkpointer else ())
        self.origin = ""  # where this process's state comes from: storage, memory
        self._owed: Restored | None = None  # a copy from memory that storage has not
        self._auto = auto if checkpointer else None
        self._stall_seconds = 0.0  # of the newest save, with the wait for its copy
        self._is_cut = False  # the time of this step lacks what came before that wait

    def restore(self, state: State) -> Progress | None:
        """The newest whole commit, in place; None when there is none."""
        if self._checkpointer is None:
            return None
        with self._meter.phase("restore"):
            restored = self._checkpointer.restore(state.model, state.optimizer, extra=state.extra)
        if restored is None:
            return None
        self._check(restored.meta)
        self.origin = restored.origin
        for reason in restored.fell_back:
            self._journal.write("error", Progress(), message=reason)
        progress = Progress.read(restored.meta.get("progress"))
        snapshot = self._meter.snapshot
        snapshot.step = snapshot.restored_step = progress.step
        if restored.commit:
            self._saved_step = snapshot.checkpoint_step = restored.commit.step
        self._owed = None if restored.is_committed else restored
        snapshot.samples, snapshot.tokens = progress.samples, progress.tokens
        snapshot.metrics = dict(progress.metrics)
        return progress

    def make_up(self, state: State) -> None:
        """Saves what came from memory: a crash may have cut its upload short, and the next one may take the memory too."""
        owed, self._owed = self._owed, None
        if owed:
            self.save(state, metric=owed.metric, may_drop=owed.metric is None)

    def is_due(self, before: tuple[int, int, float], progress: Progress, num_samples: int) -> bool:
        """By steps, samples or tokens: the same answer on every rank."""
        return self._every.is_due(before, progress, num_samples)

    def is_due_by_clock(self) -> bool:
        """By time: rank 0's clock decides for all."""
        return self._every.is_due_by_clock() or (self._auto is not None and self._auto.is_due)

    def step_done(self, seconds: float) -> None:
        """How long a step took: those beside an upload are slower, which is a part of what it costs."""
        is_cut, self._is_cut = self._is_cut, False
        if self._auto and not is_cut:
            self._auto.step_done(seconds, is_saving=bool(self._pending))

    def save(self, state: State, *, metric: float | None = None, may_drop: bool = True) -> None:
        """Copies and uploads in the background; `fence` before anything but a forward or backward pass.

        may_drop: for a later one, where storage is slower than they come.
        """
        self.memory.begin()
        if self._checkpointer is None:
            return
        trained = self._meter.train_seconds
        with self._meter.phase("checkpoint"):
            meta = self._meta(state)
            pending = self._checkpointer.save(
                state.progress.step,
                state.model,
                state.optimizer,
                meta,
                metric=metric,
                extra=state.extra,
                overlap=True,
                may_drop=may_drop,
            )
        pending.train_seconds = trained
        self._pending.append(pending)
        self._every.begin()
        self._stall_seconds = pending.stall_seconds
        if self._auto:
            self._auto.began()
        self._meter.snapshot.checkpoint_stall_seconds += pending.stall_seconds

    def remember(self, state: State) -> None:
        """Copies into memory that outlives this rank; `fence` as for save."""
        self.memory.begin()
        if self._checkpointer:
            with self._meter.phase("checkpoint"):
                self._checkpointer.remember(
                    state.progress.step,
                    state.model,
                    state.optimizer,
                    self._meta(state),
                    extra=state.extra,
                    overlap=True,
                )

    def fence(self) -> None:
        """Waits for the newest save's copy, when it is not made yet; from here on weights and their state may change."""
        if self._checkpointer and self._checkpointer.is_copying:
            with self._meter.phase("checkpoint"):
                waited = self._checkpointer.fence()
            self._meter.snapshot.checkpoint_stall_seconds += waited
            self._stall_seconds += waited
            self._is_cut = True

    def warm(self, state: State) -> None:
        """After the first step: makes the first save as quick as the later ones."""
        if self._checkpointer:
            self._checkpointer.warm(state.model, state.optimizer, extra=state.extra)
        self.is_cold = False

    def poll(self) -> None:
        """Learns the outcome of finished saves; never waits."""
        self._settle(wait=False)

    def save_last(self, state: State, *, metric: float | None = None, is_end: bool = False) -> None:
        """One commit of exactly this step, waited for; raises StorageError when it cannot be made.

        is_end: of the run, and not because of a stop: what has no room now would be trained again for nothing.
        """
        if self._checkpointer is None:
            return
        self._settle(wait=True)
        if self._saved_step != state.progress.step:
            self.save(state, metric=metric)
            self._settle(wait=True, must_hold=True, is_end=is_end)

    def _meta(self, state: State) -> dict[str, Any]:
        return {**self._describe, "progress": state.progress.document()}

    def mark_done(self, progress: Progress) -> None:
        """The completion marker: a pod that comes later does not wait for peers that have left."""
        if self._world.is_first:
            self._done(progress)

    def _settle(self, *, wait: bool, must_hold: bool = False, is_end: bool = False) -> None:
        while self._pending and (wait or self._pending[0].done()):
            self._settle_one(self._pending.pop(0), must_hold=must_hold, is_end=is_end)

    def _settle_one(self, pending: Pending, *, must_hold: bool, is_end: bool) -> None:
        snapshot = self._meter.snapshot
        try:
            commit = pending.result()
        except FencedError:
            raise
        except SupersededError as error:
            if self._auto:
                self._auto.failed()
            self._tell(pending, committed=False, error=str(error))
            return
        except StorageError as error:
            snapshot.checkpoint_failures += 1
            if self._auto:
                self._auto.failed()
            free = self._free()
            is_full = room.is_full(error, needed=pending.size_bytes, free=free)
            why = room.tell(error, needed=pending.size_bytes, free=free) if is_full else str(error)
            self._tell(pending, committed=False, error=why)
            if must_hold:
                told = f"the last checkpoint, of step {pending.step}, could not be written: {why}"
                # A failed save fails on all ranks, but not all see why; one that came back would train it all again.
                is_vain = is_end and not self._world.agree(not is_full)
                raise (FullError if is_vain else CheckpointError)(told) from error
            return
        self._saved_step = commit.step
        snapshot.checkpoints += 1
        snapshot.checkpoint_step, snapshot.checkpoint_at = commit.step, time.time()
        snapshot.committed_seconds = pending.train_seconds
        snapshot.checkpoint_seconds += pending.seconds or 0.0
        decided: Mapping[str, float] = {}
        if self._auto:
            decided = self._auto.committed(stall=self._stall_seconds, upload=pending.seconds or 0.0)
            snapshot.checkpoint_interval_seconds = self._auto.interval
        self._tell(pending, committed=True, **decided)

    def _tell(self, pending: Pending, *, committed: bool, **fields: Any) -> None:
        self._journal.write(
            "checkpoint",
            Progress(step=pending.step),
            stall_seconds=pending.stall_seconds,
            seconds=pending.seconds,
            size_bytes=pending.size_bytes,
            committed=committed,
            **fields,
        )
