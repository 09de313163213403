"""A model and a dataset of which one takes long, on rank 1 only."""

import os
import time

import torch
from torch import nn

SECONDS = 0.04 if os.environ.get("RANK") == "1" else 0.0


class Net(nn.Linear):
    """One layer."""

    def __init__(self, *, is_slow: bool) -> None:
        super().__init__(2, 1)
        self.seconds = SECONDS * is_slow

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """With its pause."""
        time.sleep(self.seconds)
        return super().forward(x)


class Rows:
    """As many as anybody wants; a batch has one for each rank."""

    def __init__(self, *, is_slow: bool) -> None:
        self.seconds = SECONDS * is_slow

    def __len__(self) -> int:
        return 1000

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        time.sleep(self.seconds)
        return torch.ones(2), torch.ones(1)
