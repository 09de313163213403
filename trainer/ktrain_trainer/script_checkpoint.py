"""A script's checkpoints: when they are due, what they hold, and how they are taken up again."""

import logging
import time
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ktrain.errors import SpecError, StorageError, SupersededError
from ktrain.units import Span
from ktrain_trainer import place, room
from ktrain_trainer.checkpoint import Pending, Retention
from ktrain_trainer.progress import Progress

if TYPE_CHECKING:
    from ktrain_trainer.script import ScriptLoader, ScriptRun

log = logging.getLogger("ktrain")


class ScriptCheckpoint:
    """Saves and restores a script's objects through ktrain's checkpoints."""

    def __init__(
        self, run: "ScriptRun", model: nn.Module, optimizer: torch.optim.Optimizer | None, loader: "ScriptLoader | None",
        every: Span, keep_last: int, more: Mapping[str, Any],
    ) -> None:  # fmt: skip
        if every.unit not in {"step", "s"}:
            raise SpecError(f"checkpoint every {every}: a script counts steps or time; write 500step or 10min")
        self._run = run
        self._model = model
        self._optimizer = optimizer
        self._every = every
        self._parts: dict[str, Any] = {**({"loader": loader} if loader is not None else {}), **more}
        self._saved_at = time.monotonic()
        self._saved_step = -1
        self._pending: list[Pending] = []
        self._is_cold = True
        # The launcher's memory holds one checkpoint.
        where = replace(run._place, memory=()) if run._checkpoints else run._place
        self._checkpointer = (
            place.checkpointer(where, run._world, retention=Retention(last=keep_last)) if where.storage else None
        )

    def restore(self) -> bool:
        """The newest whole commit into all parts, or after a crash of ranks a newer copy in memory; False when there is neither."""
        with self._run._meter.phase("restore"):
            restored = self._checkpointer.restore(self._model, self._optimizer) if self._checkpointer else None
        if restored is None:
            return False
        for name, part in self._parts.items():
            part.load_state_dict(restored.meta["parts"][name])
        progress, snapshot = self._run._progress, self._run._meter.snapshot
        progress.step = snapshot.restored_step = restored.step
        if restored.commit:
            self._saved_step = snapshot.checkpoint_step = restored.commit.step
        told = {"restored_from": restored.origin, "world_size": self._run.world_size}
        self._run._journal.write("start", progress, restored_step=restored.step, **told)
        if not restored.is_committed:
            self.save()
        return True

    def due(self) -> bool:
        """Whether it is time to save: the same answer on every rank. By time: a collective."""
        if self._every.unit == "step":
            return self._run._progress.step % int(self._every.value) == 0
        mine = float(self._run.rank == 0 and time.monotonic() - self._saved_at >= self._every.value)
        return self._run._world.sum([mine])[0] > 0

    def save_if_due(self) -> None:
        """Saves in the background when it is time or was asked for; call it once a step, on all ranks, after the optimizer's.

        Several ranks hear of a request through `should_stop` or `stop_if_asked`.
        """
        if self._is_cold and self._checkpointer:
            self._checkpointer.warm(self._model, self._optimizer)
        self._is_cold = False
        is_asked = self._run._vote.saves()
        if self.due() or is_asked:
            self.save(may_drop=not is_asked)
        else:
            self._settle(wait=False)

    def save(self, *, wait: bool = False, may_drop: bool = True) -> None:
        """All parts, as of now; in the background unless `wait`. Call it on all ranks, after the optimizer's step.

        may_drop: for a later one, where storage is slower than they come.
        """
        if self._checkpointer is None or self._saved_step == self._run._progress.step:
            self._settle(wait=wait)
            return
        trained = self._run._meter.train_seconds
        with self._run._meter.phase("checkpoint"):
            meta = {"parts": {name: part.state_dict() for name, part in self._parts.items()}}
            step = self._run._progress.step
            self._pending.append(self._checkpointer.save(step, self._model, self._optimizer, meta, may_drop=may_drop))
            self._pending[-1].train_seconds = trained
            self._saved_at, self._saved_step = time.monotonic(), step
            self._settle(wait=wait)

    def _settle(self, *, wait: bool) -> None:
        while self._pending and (wait or self._pending[0].done()):
            self._settle_one(self._pending.pop(0))

    def _settle_one(self, pending: Pending) -> None:
        try:
            commit = pending.result()
        except SupersededError as error:
            log.warning("%s", error)
            return
        except StorageError as error:
            assert self._run._place.storage is not None
            if vain := room.in_vain(error, pending.step, needed=pending.size_bytes, url=self._run._place.storage.url):
                raise vain from error
            raise
        self._run._meter.snapshot.checkpoint_step = commit.step
        self._run._meter.snapshot.checkpoint_at = time.time()
        self._run._meter.snapshot.committed_seconds = pending.train_seconds
        self._run._journal.write(
            "checkpoint", Progress(step=commit.step), stall_seconds=pending.stall_seconds,
            seconds=pending.seconds, size_bytes=pending.size_bytes, committed=True,
        )  # fmt: skip
