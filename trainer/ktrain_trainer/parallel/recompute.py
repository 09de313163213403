"""Activation checkpointing: what forward computed inside a block is computed again in backward, instead of being kept."""

from collections.abc import Callable
from functools import partial
from typing import Any, Final, Literal

import torch
from torch import nn
from torch.utils.checkpoint import CheckpointPolicy, checkpoint, create_selective_checkpoint_contexts

_aten: Final = torch.ops.aten
# As torchtitan: what is dear to compute again is kept, what is cheap is not.
KEPT: Final = frozenset(
    {
        _aten.mm.default,
        _aten.addmm.default,
        _aten.bmm.default,
        _aten.convolution.default,
        _aten._scaled_dot_product_efficient_attention.default,
        _aten._scaled_dot_product_flash_attention.default,
        _aten._scaled_dot_product_flash_attention_for_cpu.default,
    }
)


def recompute(block: nn.Module, how: Literal["full", "selective"]) -> None:
    """From now on the block's forward keeps its inputs only; `selective`: and results of matrix products and attention.

    The random state of each pass is kept, so that backward draws the masks that forward drew. In place, by the method:
    a wrapping module would put its name into those of parameters.
    """
    context = {"context_fn": partial(create_selective_checkpoint_contexts, _policy)} if how == "selective" else {}
    forward: Callable[..., Any] = block.forward
    block.forward = partial(checkpoint, forward, use_reentrant=False, **context)


def _policy(_context: Any, operation: Any, *_args: Any, **_kwargs: Any) -> CheckpointPolicy:
    return CheckpointPolicy.MUST_SAVE if operation in KEPT else CheckpointPolicy.PREFER_RECOMPUTE
