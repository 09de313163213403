"""Steps that take longer than the grace period: given up in the middle of their accumulation, so that the state before can be saved."""

import time
from collections.abc import Callable
from typing import Final

import torch
from torch import nn

from ktrain_trainer.stop import StopFlag

SHARE: Final = 0.5
"""Of the grace period: ranks whose steps take more ask each other between micro-batches; for all others it costs nothing."""


class LongSteps:
    """Asked before each micro-batch, equally often by all ranks."""

    def __init__(
        self,
        grace_seconds: float | None,
        stop: StopFlag,
        *,
        agree: Callable[[bool], bool],
        save_seconds: Callable[[], float],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """grace_seconds: from SIGTERM to SIGKILL, None when nobody knows; agree: whether all ranks say yes, a collective;
        save_seconds: how long a checkpoint takes.
        """
        self._grace, self._stop, self._agree = grace_seconds, stop, agree
        self._save_seconds, self._clock = save_seconds, clock
        self._seconds = 0.0
        self._is_on = False

    @property
    def vote(self) -> float:
        """1 when this rank finds its steps long."""
        return float(self._grace is not None and self._seconds > SHARE * self._grace)

    def keep(self, model: nn.Module) -> Callable[[], None]:
        """Gives back what a forward pass may change (batch-norm statistics, parameters without gradients)."""
        if not self._is_on:
            return lambda: None
        tensors = [*model.buffers(), *(it for it in model.parameters() if not it.requires_grad)]
        kept = [tensor.clone() for tensor in tensors]

        def give_back() -> None:
            with torch.no_grad():
                for tensor, before in zip(tensors, kept, strict=True):
                    tensor.copy_(before)

        return give_back

    def ended(self, seconds: float, *, votes: float) -> None:
        """A step took so long; votes: the sum of all ranks' for it."""
        self._seconds, self._is_on = seconds, votes > 0

    def is_given_up(self, *, left: float) -> bool:
        """Whether one of the ranks will not end the step and save within its grace. left: share of the step, 1 to 0."""
        return self._is_on and not self._agree(not self._is_hopeless(left))

    def _is_hopeless(self, left: float) -> bool:
        if self._grace is None or self._stop.since is None:
            return False
        rest = self._grace - (self._clock() - self._stop.since)
        return left * self._seconds + self._save_seconds() > rest
