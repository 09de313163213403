"""A ResNet for 8x8 images of handwritten digits, and the digits: scikit-learn brings them along."""

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn

TEST_SIZE = 360  # of 1,797


class Digits:
    """Images (1, 8, 8) in 0…1 and their digit; the split is a fixed draw, so both parts have every writer's hand."""

    def __init__(self, split: str) -> None:
        found = load_digits()
        order = torch.randperm(len(found.target), generator=torch.Generator().manual_seed(0))
        mine = order[:TEST_SIZE] if split == "test" else order[TEST_SIZE:]
        self.images = torch.tensor(found.images, dtype=torch.float32)[mine, None] / 16
        self.digits = torch.tensor(found.target)[mine]

    def __len__(self) -> int:
        return len(self.digits)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.images[index], self.digits[index]


class Block(nn.Module):
    """Two convolutions, added to what came in (He et al. 2016); the first may halve the image and widen the channels."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(before, after, 3, stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(after)
        self.second = nn.Conv2d(after, after, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(after)
        self.shortcut = nn.Identity() if before == after else nn.Conv2d(before, after, 1, stride, bias=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(batch, before, height, width) → (batch, after, height / stride, width / stride)."""
        inner = F.relu(self.first_norm(self.first(x)))
        return F.relu(self.shortcut(x) + self.second_norm(self.second(inner)))


class ResNet(nn.Sequential):
    """Images (batch, 1, 8, 8) → logits (batch, 10)."""

    def __init__(self, width: int = 16) -> None:
        super().__init__(
            nn.Conv2d(1, width, 3, padding=1, bias=False),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            Block(width, width, 1),
            Block(width, 2 * width, 2),
            Block(2 * width, 4 * width, 2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(4 * width, 10),
        )
