"""A model and a dataset; job.yaml names them as train:Net and train:Spirals."""

import math

import torch
from torch import nn


class Net(nn.Sequential):
    """Two hidden layers."""

    def __init__(self, width: int) -> None:
        super().__init__(
            nn.Linear(2, width), nn.ReLU(), nn.Dropout(0.1), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 2)
        )


class Spirals:
    """Two spirals, to be told apart: anything with __len__ and __getitem__ is a dataset."""

    def __init__(self, split: str, size: int = 2000) -> None:
        noise = torch.Generator().manual_seed({"train": 0, "val": 1}[split])
        self.labels = torch.arange(size) % 2
        angle = torch.rand(size, generator=noise) * 2 * math.pi + 0.5
        turned = angle + math.pi * self.labels
        self.points = torch.stack([angle * turned.cos(), angle * turned.sin()], 1) / 4
        self.points += 0.05 * torch.randn(self.points.shape, generator=noise)

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.points[index], self.labels[index]
