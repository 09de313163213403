"""The optimizer by name, with weight decay only where it belongs."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import nn

from ktrain.errors import BuildError
from ktrain.spec.optim import Optim
from ktrain_trainer import build

OPTIMIZERS: Final[dict[str, Callable[..., torch.optim.Optimizer]]] = {
    "adamw": torch.optim.AdamW,
    "sgd": torch.optim.SGD,
}
_DEFAULT_DECAY: Final = {"adamw": 0.01, "sgd": 0.0}  # torch's own defaults


@dataclass(frozen=True, slots=True)
class Grouped:
    """Names of parameters with and without weight decay."""

    decay: tuple[str, ...]
    no_decay: tuple[str, ...]


def group(names_and_dims: Iterable[tuple[str, int]], no_decay: str | tuple[str, ...]) -> Grouped:
    """`auto`: biases, norms and every other parameter of fewer than two dimensions go without decay."""
    decay: list[str] = []
    free: list[str] = []
    for name, dims in names_and_dims:
        (free if _is_free(name, dims, no_decay) else decay).append(name)
    return Grouped(tuple(decay), tuple(free))


def make(spec: Optim, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer over all parameters of the model, frozen ones too: checkpoint keys never depend on freezing."""
    kind = OPTIMIZERS[spec.name]
    build.check_args(kind, {"params": [], "lr": spec.lr, **spec.args}, "spec.trainer.optim.args")
    params = dict(model.named_parameters())
    grouped = group(((name, param.dim()) for name, param in params.items()), spec.no_decay)
    decay = spec.args.get("weight_decay", _DEFAULT_DECAY[spec.name])
    groups: list[dict[str, Any]] = [
        {"params": [params[name] for name in names], "weight_decay": weight_decay}
        for names, weight_decay in ((grouped.decay, decay), (grouped.no_decay, 0.0))
        if names
    ]
    args = {name: value for name, value in spec.args.items() if name != "weight_decay"}
    try:
        return kind(groups, lr=spec.lr, **{spec.kernel: True}, **args)
    except (TypeError, ValueError) as error:
        raise BuildError(f"torch's {spec.name} says: {error}", "spec.trainer.optim") from error


def set_lr(optimizer: torch.optim.Optimizer, lr: float) -> None:
    """Before each step: the rate is a function of progress, never read back from the optimizer."""
    for group_ in optimizer.param_groups:
        group_["lr"] = lr


def _is_free(name: str, dims: int, no_decay: str | tuple[str, ...]) -> bool:
    if no_decay == "auto":
        return dims < 2
    return no_decay != "none" and any(re.search(pattern, name) for pattern in no_decay)
