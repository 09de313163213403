"""Weights that are not those being trained: their moving average, and what schedule-free optimizers evaluate with."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ktrain.spec.optim import Ema as EmaSpec
from ktrain_trainer.checkpoint.sharding import local_part
from ktrain_trainer.parallel import Parallel


class Ema:
    """The moving average, on the shards that this rank holds, under the names of the parameters."""

    def __init__(self, spec: EmaSpec, model: nn.Module) -> None:
        self._spec = spec
        self.values: dict[str, Tensor] = {name: param.detach().clone() for name, param in model.named_parameters()}
        self._mine = [local_part(value)[0] for value in self.values.values()]

    @property
    def tensors(self) -> dict[str, Tensor]:
        """For the checkpoint."""
        return {f"ema.{name}": value for name, value in self.values.items()}

    @torch.no_grad()
    def take_in(self, params: list[Tensor]) -> None:
        """The weights of now, in the model's order."""
        torch._foreach_lerp_(self._mine, [local_part(param)[0] for param in params], 1 - self._spec.decay)

    def put_into(self, params: list[Tensor]) -> None:
        """The average, in place of the weights."""
        torch._foreach_copy_([local_part(param)[0] for param in params], self._mine)


@contextmanager
def for_evaluation(
    params: list[Tensor], optimizer: torch.optim.Optimizer, ema: Ema | None, parallel: Parallel
) -> Iterator[None]:
    """Around an evaluation: the average's weights or the optimizer's own, and afterwards the trained ones bit for bit.

    A schedule-free optimizer's way there and back would not be exact: runs would depend on when they were evaluated.
    """
    switch: Any = optimizer if hasattr(optimizer, "train") and hasattr(optimizer, "eval") else None
    if ema is None and switch is None:
        yield
        return
    parallel.forget_gathered()  # what a pass before may have left
    mine = [local_part(param)[0] for param in params]
    kept = [tensor.clone() for tensor in mine]
    try:
        if ema:
            ema.put_into(params)
        else:
            switch.eval()
        yield
    finally:
        if not ema:
            switch.train()
        torch._foreach_copy_(mine, kept)
        parallel.forget_gathered()
