"""What recovery.py trains: a small MLP, steps of about a tenth of a second that need no processor."""

import os
import time
from pathlib import Path

import torch
from torch import nn
from torch.utils.data import Dataset

STEP_SECONDS = 0.1
WIDTH = 512


class Points(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """A sample takes its part of a step's time."""

    def __init__(self, seconds: float = 0.0) -> None:
        self._seconds = seconds

    def __len__(self) -> int:
        return 1 << 20

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        time.sleep(self._seconds)
        x = torch.randn(32, generator=torch.Generator().manual_seed(index))
        return x, x.sum().reshape(1)


class Net(nn.Sequential):
    """About 3 MiB; nine with the optimizer's state."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(32, WIDTH), nn.ReLU(), nn.Linear(WIDTH, WIDTH), nn.ReLU(), nn.Linear(WIDTH, 1))
        self.logs = os.environ["RANK"] == "0"

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Rank 0 writes down when each step computes: after its sleep, so a few milliseconds before it is done."""
        if self.logs:
            with Path(os.environ["RECOVERY_LOG"]).open("a") as log:
                log.write(f"{time.time()} {os.getpid()}\n")
        found: torch.Tensor = super().forward(x)
        return found
