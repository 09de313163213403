"""What `trainer.debug` asks of a run: a look at the gradients at log steps, a batch that is kept."""

import io
import logging
import math
from collections.abc import Sequence
from typing import Final, Self

import torch
from torch import nn

from ktrain import names
from ktrain.errors import StorageError
from ktrain.spec import Trainer
from ktrain.storage import Storage
from ktrain_trainer.data import Batch
from ktrain_trainer.journal import Journal
from ktrain_trainer.progress import Progress
from ktrain_trainer.world import World

log = logging.getLogger("ktrain")

MOST_NAMES: Final = 10


class Probe:
    """One per rank; there is none where nothing is asked for."""

    def __init__(self, spec: Trainer, world: World, storage: Storage | None, journal: Journal) -> None:
        self._debug, self._every = spec.debug, int(spec.log.every.value)
        self._world, self._storage, self._journal = world, storage, journal
        self._told: set[str] = set()

    @classmethod
    def of(cls, spec: Trainer, world: World, storage: Storage | None, journal: Journal) -> Self | None:
        """None when the job file asks for nothing."""
        is_wanted = spec.debug.check_grads or spec.debug.dump_batch is not None
        return cls(spec, world, storage, journal) if is_wanted else None

    def batches(self, step: int, batches: Sequence[Batch]) -> None:
        """Keeps this rank's micro-batches when this is the step; `torch.load(path)["batches"]` gives them back."""
        if step != self._debug.dump_batch or self._storage is None:
            return
        data = io.BytesIO()
        torch.save({"step": step, "batches": [{"index": it.index, "data": it.data} for it in batches]}, data)
        key = f"{names.DIR_DEBUG}/batch-step-{step:09d}-rank-{self._world.rank}.pt"
        try:
            self._storage.put(key, data.getvalue())
        except StorageError as error:
            log.warning("the batch of step %d is not kept: %s", step, error)
            return
        log.warning("the batch of step %d of rank %d is in %s/%s", step, self._world.rank, self._storage.url, key)

    def gradients(self, model: nn.Module, progress: Progress, *, norm: float, factor: float) -> None:
        """At log steps, and where the norm is not finite: names what is wrong, once each, and records the norms."""
        is_due = (progress.step + 1) % self._every == 0 or not math.isfinite(norm)
        if not (self._debug.check_grads and is_due):
            return
        from ktrain_trainer import gradients  # brings DTensor, which doubles the time that a rank takes to start

        found = gradients.look(model, factor)  # by all ranks: the norm that decided is the same on all
        self._warn("got no gradient (not used in forward(), or cut off by detach())", found.missing)
        self._warn("have a gradient that is not finite", found.nonfinite)
        self._journal.write(
            "grads", Progress(step=progress.step + 1), missing=found.missing, nonfinite=found.nonfinite,
            norms=found.norms, ratios=found.ratios,
        )  # fmt: skip

    def _warn(self, what: str, params: tuple[str, ...]) -> None:
        if params and what not in self._told and self._world.is_first:
            self._told.add(what)
            log.warning("%d parameters %s: %s", len(params), what, _brief(params))


def _brief(params: tuple[str, ...]) -> str:
    """The first few."""
    more = len(params) - MOST_NAMES
    return ", ".join(params[:MOST_NAMES]) + (f" and {more} more" if more > 0 else "")
