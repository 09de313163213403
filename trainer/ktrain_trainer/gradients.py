"""Which parameters have no gradient or a broken one, and how large the others are: one reduction for the whole model."""

import math
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.tensor import DTensor


@dataclass(frozen=True)
class Gradients:
    """The same on every rank."""

    missing: tuple[
        str, ...
    ]  # parameters that are trained and got no gradient, or one of zeros, as the reduction makes of none
    nonfinite: tuple[str, ...]
    norms: dict[str, float]  # L2 norm per module
    ratios: dict[str, float]  # that, over the norm of the module's parameters


def look(model: nn.Module, factor: float) -> Gradients:
    """At gradients that have been reduced; `factor` makes a mean of them. A collective where parameters are sharded."""
    params = {name: param for name, param in model.named_parameters() if param.requires_grad}
    squares = _squares(params)
    missing, nonfinite = [], []
    grads: dict[str, float] = defaultdict(float)
    weights: dict[str, float] = defaultdict(float)
    for name, (grad, weight) in zip(params, squares, strict=True):
        module = name.rpartition(".")[0] or name
        grads[module] += grad * factor**2
        weights[module] += weight
        if grad == 0:
            missing.append(name)
        elif not math.isfinite(grad):
            nonfinite.append(name)
    norms = {module: math.sqrt(square) for module, square in grads.items()}
    ratios = {module: norm / math.sqrt(weights[module]) for module, norm in norms.items() if weights[module]}
    return Gradients(tuple(missing), tuple(nonfinite), norms, ratios)


def _squares(params: dict[str, nn.Parameter]) -> list[tuple[float, float]]:
    """Squared norms of each parameter's gradient and of itself; in double precision, where squares do not overflow."""
    local = [tensor for param in params.values() for tensor in (_local(param.grad), _local(param))]
    norms = torch.stack([_norm(tensor, like=next(iter(params.values()))) for tensor in local])
    squares = norms.double().square()
    shards: list[Any] = [param for param in params.values() if isinstance(param, DTensor)]
    groups = {shard.device_mesh.get_group(shard.device_mesh.ndim - 1) for shard in shards}
    for group in groups:  # one: all parameters are sharded alike
        dist.all_reduce(squares, group=group)
    found = squares.tolist()  # the GPU sync of a step that checks
    return list(zip(found[::2], found[1::2], strict=True))


def _local(tensor: Any) -> Any:
    """This rank's shard; the tensor itself where nothing is sharded, None where there is none."""
    shard: Any = tensor
    return shard.detach().to_local() if isinstance(tensor, DTensor) else tensor


def _norm(tensor: torch.Tensor | None, *, like: torch.Tensor) -> torch.Tensor:
    if tensor is None:
        return torch.zeros((), device=like.device)
    norm: torch.Tensor = torch.linalg.vector_norm(tensor.detach())
    return norm
