"""The whole model on every rank, gradients summed over ranks while backward is still running (DDP).

Our own reducer rather than torch's DistributedDataParallel, for three reasons:
- torch's rebuilds its buckets after the first iteration, so a resumed run at three or more ranks adds in another order
  and is not bit-exact (docs/adr/0011-own-reducer.md). Here the layout is a function of the model alone.
- the votes of a step (weight, stop, save) travel inside the last bucket: an agreed stop costs no collective of its own.
- gradients live in the buckets: no copies, one memset, one norm and one multiplication per bucket.
"""

from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

import torch
import torch.distributed as dist
from torch import nn

from ktrain_trainer.parallel.base import Votes
from ktrain_trainer.parallel.buckets import bucket, groups
from ktrain_trainer.parallel.buffers import Buffers, broadcast

_VOTES: Final = 6  # weight in two parts, stop, save, remember, long
_NOTHING: Final = nullcontext()
_SPLIT: Final = 4096.0  # float32 holds 24 bits: the weight travels as two numbers, whole up to 2**36


class Replicated:
    """Fixed buckets in reverse order of the parameters, launched in that order on every rank."""

    pads = False

    def __init__(self, model: nn.Module, group: Any) -> None:
        self.model = model
        self._group = group
        *parts, last = groups(model)
        self._buckets = [*(bucket(params, more=0) for params in parts), bucket(last, more=_VOTES)]
        self._of = {id(param): made for made in self._buckets for param in made.params}
        self._votes = self._buckets[-1].more
        self._is_last = False
        self._next = 0
        for param in (param for made in self._buckets for param in made.params):
            param.register_post_accumulate_grad_hook(self._on_ready)  # type: ignore[no-untyped-call]
        broadcast([*model.parameters(), *model.buffers()], group)
        self._buffers = Buffers(model, group)

    def begin(self) -> None:
        for made in self._buckets:
            made.flat.zero_()
            made.waiting = len(made.params)
            made.work = None
            for param, view in zip(made.params, made.views, strict=True):
                param.grad = view
        self._next = 0
        self._buffers.begin()

    def sync(self, *, is_last: bool) -> AbstractContextManager[None]:
        self._is_last = is_last
        return _NOTHING

    def vote(self, votes: Votes) -> None:
        high = votes.weight // _SPLIT
        values = (high, votes.weight - high * _SPLIT, votes.stop, votes.save, votes.remember, votes.long)
        self._votes.copy_(torch.tensor(values, dtype=self._votes.dtype))

    def reduce(self) -> Votes:
        self._launch(len(self._buckets), is_ready=lambda _it: True)
        for made in self._buckets:
            made.work.wait()
        high, low, *others = self._votes.tolist()  # the step's one read from the device
        return Votes(high * _SPLIT + low, *others)

    def norm(self) -> torch.Tensor:
        norms: list[torch.Tensor] = [torch.linalg.vector_norm(made.grads) for made in self._buckets]
        return norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms))

    def scale(self, factor: torch.Tensor | float) -> None:
        for made in self._buckets:
            made.grads.mul_(factor)

    def sum_of_shards(self, values: torch.Tensor) -> torch.Tensor:
        return values

    def forget_gathered(self) -> None:
        return None

    def sync_buffers(self) -> None:
        self._buffers.sync()

    def _on_ready(self, param: torch.Tensor) -> None:
        if self._is_last:
            self._of[id(param)].waiting -= 1
            self._launch(len(self._buckets), is_ready=lambda it: it.waiting == 0)

    def _launch(self, end: int, *, is_ready: Any) -> None:
        # In bucket order and never out of it: ranks must start the same collectives in the same order.
        while self._next < end and is_ready(made := self._buckets[self._next]):
            made.work = dist.all_reduce(made.flat, group=self._group, async_op=True)
            self._next += 1
