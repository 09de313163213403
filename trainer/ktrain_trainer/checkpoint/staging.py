"""The copy in host memory that an upload reads while training goes on: made once per save, in memory that is reused."""

import logging
import mmap
import threading
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from ktrain.checkpoints.boxes import Box
from ktrain.errors import CheckpointError
from ktrain_trainer.checkpoint.cell import Cell
from ktrain_trainer.checkpoint.kept import Moment, write_moment, write_share
from ktrain_trainer.checkpoint.plan import Layout, ObjectPlan, Plan
from ktrain_trainer.checkpoint.sharding import local_part

_LOG: Final = logging.getLogger(__name__)
_ALIGNED: Final = 64  # where an object begins: good for copies, and a multiple of every dtype's size


@dataclass(frozen=True, slots=True)
class Staged:
    """One object's bytes, ready to be written."""

    plan: ObjectPlan
    data: memoryview


@dataclass(frozen=True, slots=True)
class _Target:
    """A part of a tensor, and where in the slab it goes."""

    name: str
    box: Box
    view: Tensor


_Pairs = tuple[list[Tensor], list[Tensor]]
"""Where parts of tensors go, and the parts."""


class Slab:
    """Memory for one rank's share of a checkpoint; pinned where tensors come from a GPU.

    With a cell it is a launcher's, and a copy in it outlives this process once it is sealed.
    """

    def __init__(self, cell: Cell | None = None) -> None:
        self.cell = cell
        self.worth = -1  # the step of the copy that would be lost
        self._bytes = torch.empty(0, dtype=torch.uint8)
        self._digest = ""
        self._targets: tuple[_Target, ...] = ()
        self.staged: tuple[Staged, ...] = ()

    def fit(self, plan: Plan, layouts: Mapping[str, Layout], rank: int, *, pinned: bool) -> None:
        """Makes room for a plan's objects; allocates only when it needs more than before, or other memory of a launcher's."""
        if plan.digest == self._digest:
            return
        share = [item for item in plan.objects if item.rank == rank]
        begins, size = _offsets(share)
        if self.cell or size > len(self._bytes):
            self._bytes, self.staged, self._targets = torch.empty(0, dtype=torch.uint8), (), ()  # the old goes first
            self._bytes = (
                _keep(self.cell, size, write_share(plan, layouts, rank, begins), pinned=pinned)
                if self.cell
                else _allocate(size, pinned=pinned)
            )
        parts = [self._bytes[begin : begin + item.size_bytes] for begin, item in zip(begins, share, strict=True)]
        self.staged = tuple(Staged(item, part.numpy().data) for item, part in zip(share, parts, strict=True))
        self._targets = tuple(
            _Target(slot.name, slot.box, _view(part[slot.begin : slot.end], layouts[slot.name].dtype, slot.box))
            for item, part in zip(share, parts, strict=True)
            for slot in item.slots
        )
        self._digest = plan.digest

    def clear(self) -> None:
        """Before a copy begins."""
        self.worth = -1
        if self.cell:
            self.cell.clear()

    def seal(self, moment: Moment) -> None:
        """The copy is whole: a launcher's memory keeps it."""
        if self.cell:
            self.cell.seal(write_moment(moment))
            self.worth = moment.header.step

    def pairs(self, tensors: Mapping[str, Tensor], names: Collection[str]) -> "_Pairs":
        """Where the named tensors' parts go, and the parts."""
        targets = [target for target in self._targets if target.name in names]
        held = {name: local_part(tensors[name]) for name in {target.name for target in targets}}
        return [target.view for target in targets], [_part(*held[target.name], target.box) for target in targets]


class Copying:
    """A copy into a slab under way; `fence` before the tensors change, `wait` before the slab is read.

    Tensors that were changed in place meanwhile are noticed by their version counters, which `.data` does not touch.
    """

    def __init__(
        self, slab: Slab, watched: Mapping[str, Tensor], wait: Callable[[], object], fence: Callable[[], object]
    ):
        self._slab, self._wait, self._fence = slab, wait, fence
        self._seen = {name: (tensor, _version(tensor)) for name, tensor in watched.items()}
        self._lock = threading.Lock()
        self._is_judged = False
        self.torn = ""  # the name of a tensor that was changed too early

    def fence(self) -> None:
        """Returns when the tensors may change."""
        self._fence()
        self._judge()

    def wait(self) -> tuple[Staged, ...]:
        """The bytes; raises what made the copy fail."""
        self._wait()
        self._judge()
        if self.torn:
            raise CheckpointError(
                f"{self.torn} was changed in place by a forward or backward pass, while it was copied: this checkpoint is "
                "dropped, and the next ones are copied before the training goes on"
            )
        return self._slab.staged

    def _judge(self) -> None:
        with self._lock:
            if not self._is_judged:
                self._is_judged = True
                changed = (name for name, (tensor, version) in self._seen.items() if _version(tensor) != version)
                self.torn = next(changed, "")
                self._seen = {}  # holds the tensors no longer


class Stager:
    """Copies in the background: on the CPU by a thread, on a GPU by a stream of its own."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(1, "ktrain-stage")
        self._begun: list[Future[None]] = []  # what must be over before the next copy begins
        self._stream: Any = None

    def copy(self, slab: Slab, tensors: Mapping[str, Tensor], *, at_once: Collection[str]) -> Copying:
        """Begins a copy of everything; those named `at_once` are in the slab when this returns."""
        slab.clear()
        _copy(*slab.pairs(tensors, at_once))
        views, parts = slab.pairs(tensors, later := tensors.keys() - set(at_once))
        if any(part.is_cuda for part in parts):
            return self._copy_on_stream(slab, _locals(tensors, later), views, parts)
        if not parts:
            return Copying(slab, {}, _nothing, _nothing)
        future = self._pool.submit(_copy, views, parts)
        return Copying(slab, _locals(tensors, later), future.result, lambda: _done(future))

    def then(self, act: Callable[[], None]) -> None:
        """Beside the training, after the copies that have begun."""
        self._begun.append(self._pool.submit(act))

    def settle(self) -> None:
        """Waits for what `then` was given; raises what made it fail."""
        while self._begun:
            self._begun.pop(0).result()

    def _copy_on_stream(
        self, slab: Slab, tensors: Mapping[str, Tensor], views: list[Tensor], parts: list[Tensor]
    ) -> Copying:
        self._stream = self._stream or torch.cuda.Stream()  # type: ignore[no-untyped-call]
        self._stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self._stream):
            torch._foreach_copy_(views, parts, non_blocking=True)
            event = self._stream.record_event()
        for part in parts:
            part.record_stream(self._stream)
        return Copying(slab, tensors, event.synchronize, lambda: torch.cuda.current_stream().wait_event(event))


def _offsets(share: Sequence[ObjectPlan]) -> tuple[list[int], int]:
    begins, at = [], 0
    for item in share:
        begins.append(at)
        at += -(-item.size_bytes // _ALIGNED) * _ALIGNED
    return begins, at


def _keep(cell: Cell, size: int, text: bytes, *, pinned: bool) -> Tensor:
    memory = cell.map(size, text)
    if not size:
        return torch.empty(0, dtype=torch.uint8)
    data = torch.frombuffer(memory, dtype=torch.uint8)
    if cell.held() is None:
        data.zero_()
    if pinned:
        _pin(data)
    return data


def _pin(data: Tensor) -> None:
    """Memory that is there already; it is let go with the process, or with the device's context."""
    if code := torch.cuda.cudart().cudaHostRegister(data.data_ptr(), data.nbytes, 0):  # type: ignore[no-untyped-call]
        _LOG.warning("the launcher's memory cannot be pinned (CUDA error %s): copies from the GPU are slower", code)


def _allocate(size: int, *, pinned: bool) -> Tensor:
    """Zeroed, so that no page fault is left for the first save."""
    if pinned:
        return torch.empty(size, dtype=torch.uint8, pin_memory=True).zero_()
    memory = mmap.mmap(-1, size)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        memory.madvise(mmap.MADV_HUGEPAGE)
    return torch.frombuffer(memory, dtype=torch.uint8).zero_()


def _view(part: Tensor, dtype: str, box: Box) -> Tensor:
    return part.view(getattr(torch, dtype)).view(box.size)


def _part(local: Tensor, held: Box, box: Box) -> Tensor:
    return local if box == held else local[box.slices(held.offset)]


def _copy(views: list[Tensor], parts: list[Tensor]) -> None:
    if views:
        torch._foreach_copy_(views, parts)


def _locals(tensors: Mapping[str, Tensor], names: Collection[str]) -> dict[str, Tensor]:
    return {name: local_part(tensors[name])[0] for name in names}


def _version(tensor: Tensor) -> int:
    return 0 if tensor.is_inference() else tensor._version


def _done(future: "Future[None]") -> None:
    future.exception()


def _nothing() -> None:
    pass
