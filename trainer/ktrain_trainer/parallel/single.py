"""One rank: nothing to reduce."""

from contextlib import AbstractContextManager, nullcontext
from typing import Final

import torch
from torch import nn

from ktrain_trainer.parallel.base import Votes

_NOTHING: Final = nullcontext()


class Single:
    """The model as it is."""

    pads = False

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self._params = [param for param in model.parameters() if param.requires_grad]
        self._votes = Votes()

    def begin(self) -> None:
        for param in self._params:
            param.grad = None

    def sync(self, *, is_last: bool) -> AbstractContextManager[None]:  # noqa: ARG002
        return _NOTHING

    def vote(self, votes: Votes) -> None:
        self._votes = votes

    def reduce(self) -> Votes:
        return self._votes

    def norm(self) -> torch.Tensor:
        norm: torch.Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(self._grads())))
        return norm

    def scale(self, factor: torch.Tensor | float) -> None:
        torch._foreach_mul_(self._grads(), factor)

    def sum_of_shards(self, values: torch.Tensor) -> torch.Tensor:
        return values

    def forget_gathered(self) -> None:
        return None

    def sync_buffers(self) -> None:
        return None

    def _grads(self) -> list[torch.Tensor]:
        return [param.grad for param in self._params if param.grad is not None]
