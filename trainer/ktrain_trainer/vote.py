"""Whether any rank of a script was told to stop or asked to save: asked in one step and answered in the next."""

from typing import Any

import torch
import torch.distributed as dist

from ktrain_trainer.stop import StopFlag
from ktrain_trainer.world import World


class Vote:
    """The same answers on every rank; no step waits for them."""

    def __init__(self, stop: StopFlag, world: World) -> None:
        self._stop = stop
        self._world = world
        self._question: tuple[Any, torch.Tensor] | None = None
        self._is_save_agreed = False

    def stops(self) -> bool:
        """Reads the answer to the question that the call before asked, and asks again; a collective."""
        if self._world.size == 1:
            return self._stop.is_set
        stop, save = self._answer()
        self._is_save_agreed = self._is_save_agreed or save > 0
        flags = torch.tensor([float(self._stop.is_set), float(self._stop.wants_save)])
        self._stop.wants_save = False
        self._question = (dist.all_reduce(flags, group=self._world.control, async_op=True), flags)
        return stop > 0

    def saves(self) -> bool:
        """Whether somebody asked for a checkpoint; once per request. Several ranks hear of it through `stops`."""
        if self._world.size == 1:
            asked, self._stop.wants_save = self._stop.wants_save, False
            return asked
        asked, self._is_save_agreed = self._is_save_agreed, False
        return asked

    def _answer(self) -> tuple[float, float]:
        if self._question is None:
            return 0.0, 0.0
        work, flags = self._question
        work.wait()
        stop, save = flags.tolist()
        return stop, save
