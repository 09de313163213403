"""What the loop asks of a way to spread a model over ranks."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import nn


@dataclass(frozen=True, slots=True)
class Votes:
    """What every rank puts into a step, and after the reduction the sums over all ranks.

    weight: targets that counted; stop: ranks that were told to go; save: one when a checkpoint is due by rank 0's clock,
    and two for each rank that was asked for one; remember: the same for a copy in memory, by rank 0's clock; long: ranks
    whose steps are long for the grace period.
    """

    weight: float = 0.0
    stop: float = 0.0
    save: float = 0.0
    remember: float = 0.0
    long: float = 0.0

    @property
    def is_save_asked(self) -> bool:
        """Whether somebody asked for a checkpoint; sums of small floats."""
        return self.save > 1.5


class Parallel(Protocol):
    """One step: begin, then for each micro-batch `sync(is_last)` around forward and backward, then reduce, then scale."""

    model: nn.Module
    pads: bool
    """Whether every rank must run equally many forward passes (sharded parameters are gathered by all together)."""

    def begin(self) -> None:
        """Forgets the gradients of the step before."""

    def sync(self, *, is_last: bool) -> AbstractContextManager[None]:
        """Around a micro-batch: gradients are reduced in the last one only."""

    def vote(self, votes: Votes) -> None:
        """Hands in this rank's votes: after the last forward, before its backward, so that they travel with the gradients."""

    def reduce(self) -> Votes:
        """Ends the reduction: gradients are now sums over all ranks; returns the sums of the votes."""

    def norm(self) -> torch.Tensor:
        """L2 norm of the whole gradient, the same on every rank; 0-dim."""

    def scale(self, factor: torch.Tensor | float) -> None:
        """Multiplies every gradient."""

    def sum_of_shards(self, values: torch.Tensor) -> torch.Tensor:
        """Of numbers that were taken from parts of parameters: their sums over the ranks that hold one copy."""

    def forget_gathered(self) -> None:
        """Drops whole copies of sharded parameters: for whoever changes weights between two passes."""

    def sync_buffers(self) -> None:
        """Rank 0's buffers (batch-norm statistics) for all. A collective."""
