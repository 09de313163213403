"""The whole model on every rank, gradients summed over ranks while backward is still running (DDP).

Our own reducer rather than torch's DistributedDataParallel, for three reasons:
- torch's rebuilds its buckets after the first iteration, so a resumed run at three or more ranks adds in another order
  and is not bit-exact (docs/adr/0011-own-reducer.md). Here the layout is a function of the model alone.
- the votes of a step (weight, stop, save) travel inside the last bucket: an agreed stop costs no collective of its own.
- gradients live in the buckets: no copies, one memset, one norm and one multiplication per bucket.
"""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, Final

import torch
import torch.distributed as dist
from torch import nn

from ktrain_trainer.parallel.base import Votes
from ktrain_trainer.parallel.buffers import Buffers, broadcast

FIRST_BUCKET_BYTES: Final = 1 << 20  # small, so that reduction starts early in backward
BUCKET_BYTES: Final = 25 << 20
_VOTES: Final = 4  # weight in two parts, stop, save
_NOTHING: Final = nullcontext()
_SPLIT: Final = 4096.0  # float32 holds 24 bits: the weight travels as two numbers, whole up to 2**36


@dataclass(slots=True)
class _Bucket:
    flat: torch.Tensor  # gradients, then (in the last bucket) the votes
    grads: torch.Tensor  # view of flat without the votes
    params: list[nn.Parameter]
    views: list[torch.Tensor]
    waiting: int = 0
    work: Any = None


class Replicated:
    """Fixed buckets in reverse order of the parameters, launched in that order on every rank."""

    pads = False

    def __init__(self, model: nn.Module, group: Any) -> None:
        self.model = model
        self._group = group
        self._buckets = _buckets([param for param in model.parameters() if param.requires_grad])
        self._of = {id(param): bucket for bucket in self._buckets for param in bucket.params}
        self._votes = self._buckets[-1].flat[-_VOTES:]
        self._is_last = False
        self._next = 0
        for param in (param for bucket in self._buckets for param in bucket.params):
            param.register_post_accumulate_grad_hook(self._on_ready)  # type: ignore[no-untyped-call]
        broadcast([*model.parameters(), *model.buffers()], group)
        self._buffers = Buffers(model, group)

    def begin(self) -> None:
        for bucket in self._buckets:
            bucket.flat.zero_()
            bucket.waiting = len(bucket.params)
            bucket.work = None
            for param, view in zip(bucket.params, bucket.views, strict=True):
                param.grad = view
        self._next = 0
        self._buffers.begin()

    def sync(self, *, is_last: bool) -> AbstractContextManager[None]:
        self._is_last = is_last
        return _NOTHING

    def vote(self, votes: Votes) -> None:
        high = votes.weight // _SPLIT
        values = (high, votes.weight - high * _SPLIT, votes.stop, votes.save)
        self._votes.copy_(torch.tensor(values, dtype=self._votes.dtype))

    def reduce(self) -> Votes:
        self._launch(len(self._buckets), is_ready=lambda _bucket: True)
        for bucket in self._buckets:
            bucket.work.wait()
        high, low, stop, save = self._votes.tolist()  # the step's one read from the device
        return Votes(high * _SPLIT + low, stop, save)

    def norm(self) -> torch.Tensor:
        norms: list[torch.Tensor] = [torch.linalg.vector_norm(bucket.grads) for bucket in self._buckets]
        return norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms))

    def scale(self, factor: torch.Tensor | float) -> None:
        for bucket in self._buckets:
            bucket.grads.mul_(factor)

    def sync_buffers(self) -> None:
        self._buffers.sync()

    def _on_ready(self, param: torch.Tensor) -> None:
        if self._is_last:
            self._of[id(param)].waiting -= 1
            self._launch(len(self._buckets), is_ready=lambda bucket: bucket.waiting == 0)

    def _launch(self, end: int, *, is_ready: Any) -> None:
        # In bucket order and never out of it: ranks must start the same collectives in the same order.
        while self._next < end and is_ready(bucket := self._buckets[self._next]):
            bucket.work = dist.all_reduce(bucket.flat, group=self._group, async_op=True)
            self._next += 1


def _buckets(params: list[nn.Parameter]) -> list[_Bucket]:
    groups: list[list[nn.Parameter]] = []
    size = 0
    for param in reversed(params):  # backward reaches the last parameters first
        limit = FIRST_BUCKET_BYTES if len(groups) <= 1 else BUCKET_BYTES
        same = groups and (groups[-1][0].dtype, groups[-1][0].device) == (param.dtype, param.device)
        if not same or size >= limit:
            groups.append([])
            size = 0
        groups[-1].append(param)
        size += param.numel() * param.element_size()
    return [_bucket(group, extra=_VOTES if group is groups[-1] else 0) for group in groups]


def _bucket(params: list[nn.Parameter], *, extra: int) -> _Bucket:
    total = sum(param.numel() for param in params)
    flat = torch.zeros(total + extra, dtype=params[0].dtype, device=params[0].device)
    views, at = [], 0
    for param in params:
        views.append(flat[at : at + param.numel()].view_as(param))
        at += param.numel()
    return _Bucket(flat, flat[:total], params, views)
