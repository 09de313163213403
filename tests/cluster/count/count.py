"""A model that counts: each visit of a sample moves its row by exactly 1/32, so the final weights say how often each was seen.

Slow on purpose where a test has to hit a moment: a tenth of a second for each micro-batch, also while evaluating.
"""

import time

import torch
from torch import nn

from ktrain_trainer.task import Out


class Ids:
    """Sample i is the number i."""

    def __init__(self, size: int) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> int:
        return index


class Table(nn.Embedding):
    """A row for each sample, all zeros; wide, so that a checkpoint takes a while."""

    def __init__(self, rows: int, width: int) -> None:
        super().__init__(rows, width)
        nn.init.zeros_(self.weight)


class Visit:
    """The gradient of the sum is 1 for each visited row; its mean over the global batch of 32 is 1/32."""

    def __call__(self, model: nn.Module, ids: torch.Tensor) -> Out:
        time.sleep(0.1)
        return Out(model(ids)[:, 0].sum(), len(ids))
