"""Clipping by value and by unit, on whatever part of the gradients a rank holds. By norm: in the loop, with its scaling."""

from collections.abc import Iterable
from typing import Any, Final

import torch
from torch import Tensor

from ktrain.spec.optim import Clip
from ktrain_trainer.checkpoint.sharding import local_part
from ktrain_trainer.parallel import Parallel

_LEAST: Final = 1e-3  # of a unit's norm, so that weights of zero can move (Brock and others 2021)


def clip(spec: Clip, params: Iterable[Tensor], parallel: Parallel) -> None:
    """In place, after the gradients are means. By unit it is a collective."""
    held = [(local_part(param)[0], local_part(param.grad)[0]) for param in params if param.grad is not None]
    if spec.value is not None:
        grads = [grad for _, grad in held]
        torch._foreach_clamp_min_(grads, -spec.value)
        torch._foreach_clamp_max_(grads, spec.value)
    elif spec.adaptive is not None:
        _adaptive(spec.adaptive, held, parallel)


def _adaptive(share: float, held: list[tuple[Tensor, Tensor]], parallel: Parallel) -> None:
    """Rows of matrices and filters are units, and lie on one rank; vectors are one unit, of which ranks may have parts."""
    vectors = [pair for pair in held if pair[0].dim() <= 1]
    squares = [torch.linalg.vector_norm(it).square() for pair in vectors for it in pair]
    if squares:
        norms: Any = parallel.sum_of_shards(torch.stack(squares)).sqrt().view(-1, 2)
        for (_, grad), (weights, norm) in zip(vectors, norms, strict=True):
            _shrink(grad, norm, share * weights.clamp(min=_LEAST))
    for param, grad in held:
        if param.dim() > 1 and param.numel():
            dims = tuple(range(1, param.dim()))
            weights = torch.linalg.vector_norm(param, dim=dims, keepdim=True).clamp(min=_LEAST)
            _shrink(grad, torch.linalg.vector_norm(grad, dim=dims, keepdim=True), share * weights)


def _shrink(grad: Tensor, norm: Tensor, largest: Tensor) -> None:
    grad.mul_(torch.where(norm > largest, largest / norm.clamp(min=1e-6), 1.0))
