"""The model of a script on every rank, gradients averaged by the end of `backward()`: used like DistributedDataParallel.

Bit-exact through restarts at any number of ranks, which torch's own is up to two (docs/adr/0011-own-reducer.md): there the
buckets are rebuilt after the first iteration, here they follow from the model alone. A parameter that some ranks did not
use gets the mean as well; one that no rank used keeps no gradient, so that optimizers leave it alone.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import nn

from ktrain_trainer.parallel.buckets import Bucket, bucket, groups
from ktrain_trainer.parallel.buffers import Buffers, broadcast


class Replica(nn.Module):
    """Wraps a module; `module` is the module itself, whose parameters and names checkpoints keep."""

    def __init__(
        self,
        module: nn.Module,
        group: Any,
        num_ranks: int,
        *,
        on_wait: Callable[[float], object] = lambda _seconds: None,
    ) -> None:
        """on_wait hears for how long the host waited for the others; on a GPU it does not wait, and hears of nothing."""
        super().__init__()
        self.module = module
        self._on_wait = on_wait
        self._group = group
        self._num_ranks = num_ranks
        self._parts = [bucket(params, more=len(params)) for params in groups(module)]
        self._place = {id(param): (made, index) for made in self._parts for index, param in enumerate(made.params)}
        self._moving = Buffers(module, group)
        self._is_syncing = True
        self._is_reducing = False
        self._next = 0
        if num_ranks == 1:
            return
        for param in (param for made in self._parts for param in made.params):
            param.register_post_accumulate_grad_hook(self._on_ready)  # type: ignore[no-untyped-call]
        broadcast([*module.parameters(), *module.buffers()], group)

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """The module's."""
        if self.training and torch.is_grad_enabled():
            self._moving.begin()
        return self.module(*args, **kwargs)

    @contextmanager
    def no_sync(self) -> Iterator[None]:
        """Backward passes in here only add up on this rank; the first one after it averages the whole sum."""
        before, self._is_syncing = self._is_syncing, False
        try:
            yield
        finally:
            self._is_syncing = before

    def _on_ready(self, param: nn.Parameter) -> None:
        if not self._is_syncing:
            return
        if not self._is_reducing:
            self._begin()
        made, index = self._place[id(param)]
        _hand_in(made, index)
        made.waiting -= 1
        self._launch(is_ready=lambda it: it.waiting == 0)

    def _begin(self) -> None:
        self._is_reducing, self._next = True, 0
        for made in self._parts:
            made.waiting = len(made.params)
            made.more.fill_(1)  # parameters that this rank used
        # At the end of this backward, whichever parameters it reaches: as DDP and FSDP do it.
        torch.autograd.Variable._execution_engine.queue_callback(self._finish)

    def _launch(self, *, is_ready: Any) -> None:
        # In bucket order and never out of it: ranks must start the same collectives in the same order.
        while self._next < len(self._parts) and is_ready(made := self._parts[self._next]):
            made.work = dist.all_reduce(made.flat, group=self._group, async_op=True)
            self._next += 1

    def _finish(self) -> None:
        self._is_reducing = False
        for made in self._parts:
            if made.waiting:
                _hand_in_rest(made)
        self._launch(is_ready=lambda _it: True)
        for made in self._parts:
            self._wait(made)
            made.grads.div_(self._num_ranks)
            if made.waiting:
                _take_back_unused(made)
        self._moving.sync()

    def _wait(self, made: Bucket) -> None:
        started = time.perf_counter()
        made.work.wait()
        self._on_wait(time.perf_counter() - started)


def _hand_in(made: Bucket, index: int) -> None:
    param, view = made.params[index], made.views[index]
    assert param.grad is not None
    if param.grad is not view:
        view.copy_(param.grad)
        param.grad = view


def _hand_in_rest(made: Bucket) -> None:
    for index, param in enumerate(made.params):
        if param.grad is not None:  # of this backward, or added up before it
            _hand_in(made, index)
        else:
            param.grad = made.views[index].zero_()
            made.more[index] = 0


def _take_back_unused(made: Bucket) -> None:
    for param, ranks in zip(made.params, made.more.tolist(), strict=True):
        if ranks == 0:
            param.grad = None
