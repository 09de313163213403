"""Boxes around generated shapes: torchvision's FCOS (Tian et al. 2019) with a backbone that fits small pictures."""

import itertools
import zlib
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torchvision.models.detection import FCOS
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import box_iou

from ktrain_trainer import Out

SIZE = 64
Sample = tuple[torch.Tensor, dict[str, torch.Tensor]]  # image (3, SIZE, SIZE), {"boxes": (n, 4), "labels": (n,)}


class Shapes:
    """One to three shapes on noise: label 0 is a disc, 1 a cross. Picture n of a split is always the same."""

    def __init__(self, split: str) -> None:
        self.split = split
        self.size = {"train": 1000, "test": 200}[split]

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Sample:
        dice = torch.Generator().manual_seed(zlib.crc32(f"{self.split} {index}".encode()))
        count = int(torch.randint(1, 4, (1,), generator=dice))
        labels = torch.randint(0, 2, (count,), generator=dice)
        radius = torch.randint(5, 11, (count,), generator=dice)
        # Each in a quarter of its own, so that none hides another.
        quarter = torch.randperm(4, generator=dice)[:count]
        middle = (
            torch.stack([quarter % 2, quarter // 2], 1) * 32 + 10 + torch.randint(0, 13, (count, 2), generator=dice)
        )
        image = 0.2 * torch.rand(3, SIZE, SIZE, generator=dice)
        for place, size, kind in zip(middle, radius, labels, strict=True):
            image[:, _inside(place, size, is_disc=int(kind) == 0)] += 0.3 + 0.5 * torch.rand(3, 1, generator=dice)
        low, high = (middle - radius[:, None]).clamp(min=0), (middle + radius[:, None] + 1).clamp(max=SIZE)
        return image, {"boxes": torch.cat([low, high], 1).float(), "labels": labels}


def _inside(middle: torch.Tensor, radius: torch.Tensor, *, is_disc: bool) -> torch.Tensor:
    down, across = (torch.arange(SIZE)[:, None] - middle[1]).abs(), (torch.arange(SIZE)[None, :] - middle[0]).abs()
    if is_disc:
        return down**2 + across**2 <= radius**2
    return (torch.minimum(down, across) <= radius // 4) & (torch.maximum(down, across) <= radius)


def together() -> Callable[[list[Sample]], tuple[list[torch.Tensor], list[dict[str, torch.Tensor]]]]:
    """A collate function: pictures have different numbers of boxes, so a batch is two lists."""
    return lambda samples: ([image for image, _ in samples], [target for _, target in samples])


class Backbone(nn.Sequential):
    """Images (batch, 3, SIZE, SIZE) → features (batch, 2 width, SIZE / 8, SIZE / 8)."""

    def __init__(self, width: int) -> None:
        channels = [3, width, width, 2 * width]
        layers: list[nn.Module] = []
        for before, after in itertools.pairwise(channels):
            layers += [nn.Conv2d(before, after, 3, 2, 1), nn.GroupNorm(8, after), nn.ReLU()]
        super().__init__(*layers, nn.Conv2d(2 * width, 2 * width, 3, padding=1), nn.ReLU())
        self.out_channels = 2 * width  # torchvision asks for it


def detector(width: int = 32) -> nn.Module:
    """Nothing is downloaded: all weights are drawn."""
    anchors = AnchorGenerator(sizes=((8,),), aspect_ratios=((1.0,),))
    model: nn.Module = FCOS(
        Backbone(width), num_classes=2, anchor_generator=anchors, min_size=SIZE, max_size=SIZE, score_thresh=0.5
    )
    return model


class Detect:
    """torchvision's detectors give losses while training, and boxes while evaluating.

    Evaluation says which share of the shapes was found (overlap of more than half, the right kind), and which share of the
    boxes found a shape. The mean of both is turned around to be val/loss, for want of a loss.
    """

    def __call__(self, model: nn.Module, batch: Any) -> Out:
        images, targets = batch
        if torch.is_grad_enabled():
            losses = model(images, targets)
            return Out(sum(losses.values()) * len(images), len(images))
        found, told, true = torch.zeros(()), 0, 0
        for boxes, target in zip(model(images), targets, strict=True):
            same = boxes["labels"][:, None] == target["labels"]
            found = found + ((box_iou(boxes["boxes"], target["boxes"]) > 0.5) & same).any(0).sum()
            told, true = told + len(boxes["labels"]), true + len(target["labels"])
        return Out(true - found, true, {"found": (found, true), "precision": (found, told)})
