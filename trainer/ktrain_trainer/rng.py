"""Random numbers as a function of where they are drawn: nothing about them is ever stored."""

import random
import sys
from typing import Final

import torch

_MASK: Final = (1 << 64) - 1

# What a draw is for. New uses get new numbers; changing one changes every run that was ever made with it.
INIT: Final = 1
ORDER: Final = 2
SAMPLE: Final = 3
FORWARD: Final = 4
WEIGHTED: Final = 101
CURRICULUM: Final = 102
BUCKET: Final = 103
MIX: Final = 104
PACK: Final = 105
REPLACE: Final = 106


def mix(value: int) -> int:
    """One round of splitmix64 (Steele, Lea, Flood 2014): a 64-bit value that looks unrelated to its input."""
    value = (value + 0x9E3779B97F4A7C15) & _MASK
    value = ((value ^ (value >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    value = ((value ^ (value >> 27)) * 0x94D049BB133111EB) & _MASK
    return value ^ (value >> 31)


def key(seed: int, *where: int) -> int:
    """A 64-bit key of a place, such as key(seed, FORWARD, step, micro_batch)."""
    value = mix(seed & _MASK)
    for part in where:
        value = mix(value ^ (part & _MASK))
    return value


def seed_all(value: int) -> None:
    """Seeds every generator that user code may draw from by accident: torch's, Python's and numpy's.

    torch.manual_seed costs 143 us a call; the generators' own manual_seed 4 us.
    """
    torch.default_generator.manual_seed(value)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        for generator in torch.cuda.default_generators:
            generator.manual_seed(value)
    random.seed(value)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(value & 0xFFFFFFFF)
