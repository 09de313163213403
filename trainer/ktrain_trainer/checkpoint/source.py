"""Weights to begin with, from another run."""

from collections.abc import Callable

from torch import nn

from ktrain.storage import Storage, open_storage
from ktrain_trainer.checkpoint.world import World


def init_from(model: nn.Module, source: str, *, world: World, opener: Callable[[str], Storage] = open_storage) -> int:
    """Puts weights of another run (`<url>` of its job or run folder, or `<url>@<step>`) into the model; returns its step."""
    raise NotImplementedError
