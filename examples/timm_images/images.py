"""Noisy pictures of four textures, made from a seed: something to look at for any model of timm's."""

import zlib

import torch

SIZE = 32
NAMES = ("rows", "columns", "checks", "rings")


class Textures:
    """Images (3, SIZE, SIZE) around 0 and the number of their texture; colours, phase, width and noise differ."""

    def __init__(self, split: str) -> None:
        self.split = split
        self.size = {"train": 2000, "test": 400}[split]

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        dice = torch.Generator().manual_seed(zlib.crc32(f"{self.split} {index}".encode()))
        label = index % len(NAMES)
        period, phase = 4 + 6 * torch.rand(1, generator=dice), 6.3 * torch.rand(2, generator=dice)
        colours = torch.randn(3, 1, 1, generator=dice)
        noise = torch.randn(3, SIZE, SIZE, generator=dice)
        return colours * texture(NAMES[label], 6.3 / period, phase) + 0.7 * noise, label


def texture(name: str, frequency: torch.Tensor, phase: torch.Tensor) -> torch.Tensor:
    """(SIZE, SIZE) in -1…1."""
    places = torch.arange(SIZE) * frequency
    down, across = (places + phase[0]).sin()[:, None], (places + phase[1]).sin()[None, :]
    middle = (places - places.mean()) ** 2
    rings = ((middle[:, None] + middle[None, :]).sqrt() + phase[0]).sin()
    flat = torch.ones(SIZE, SIZE)
    return {"rows": down * flat, "columns": across * flat, "checks": down * across * 1.4, "rings": rings}[name]
