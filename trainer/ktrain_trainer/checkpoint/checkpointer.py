"""What the trainer calls: save in the background, restore the newest whole checkpoint."""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from math import isfinite
from typing import Any, Final

from torch import Tensor, nn
from torch.optim import Optimizer

from ktrain.checkpoints.commit import Folders
from ktrain.checkpoints.retention import Retention
from ktrain.checkpoints.tidy import folder_of, remove, sweep
from ktrain.errors import CheckpointError
from ktrain.history import Commit, Head, Token
from ktrain.storage import Storage
from ktrain_trainer.checkpoint.cell import Cell
from ktrain_trainer.checkpoint.exchange import Exchange
from ktrain_trainer.checkpoint.header import Header, check_meta
from ktrain_trainer.checkpoint.kept import Moment
from ktrain_trainer.checkpoint.line import Job, Line
from ktrain_trainer.checkpoint.load import Loaded, load_newest, shared_head
from ktrain_trainer.checkpoint.plan import Layout, Plan, make_plan
from ktrain_trainer.checkpoint.recall import Recalled, recall
from ktrain_trainer.checkpoint.restored import Restored
from ktrain_trainer.checkpoint.save import Options, Pending, Place, Save
from ktrain_trainer.checkpoint.sharding import layout_of, mark_of
from ktrain_trainer.checkpoint.staging import Copying, Slab, Stager
from ktrain_trainer.checkpoint.state import State, collect
from ktrain_trainer.checkpoint.target import Target
from ktrain_trainer.checkpoint.world import World

_LOG: Final = logging.getLogger(__name__)
DEFAULT_RETENTION: Final = Retention()
DEFAULT_OPTIONS: Final = Options()


class Checkpointer:
    """Saves and restores one run, as the writer that holds `token`; all ranks make the same calls in the same order.

    `storage` is scoped to the run. Saves are written in the background, one after the other; one that still waits for its
    turn when the next is made is dropped for it, so that no save waits for storage, except behind one that must not be dropped.
    """

    def __init__(
        self,
        storage: Storage,
        token: Token,
        world: World,
        *,
        run: str,
        retention: Retention = DEFAULT_RETENTION,
        clock: Callable[[], float] = time.time,
        options: Options = DEFAULT_OPTIONS,
        memory: Sequence[str] = (),
    ) -> None:
        """memory: files in memory that outlive this rank, at least two."""
        self._storage, self._token, self._world, self._run = storage, token, world, run
        self._retention, self._clock, self._options = retention, clock, options
        self._slabs = _slabs(memory)
        self._line, self._stager = Line(self._slabs), Stager()
        self._copying: tuple[Pending | None, Copying] | None = None  # that was not fenced yet
        self._overlaps = True
        self._folders = Folders(token)
        self._planned: tuple[dict[str, object], dict[str, Layout], Plan] | None = None
        self._failed: list[str] = []  # folders of saves that came to nothing
        self._has_swept = False

    def save(
        self,
        step: int,
        model: nn.Module,
        optimizer: Optimizer | None,
        meta: Mapping[str, Any],
        *,
        metric: float | None = None,
        extra: Mapping[str, Tensor] | None = None,
        overlap: bool = False,
        may_drop: bool = True,
    ) -> Pending:
        """Copies the state now and uploads it in the background; a failure is raised by Pending.result().

        With `overlap` only what a forward pass may change is copied now, the rest beside it: call `fence` before anything
        else is changed. Without `may_drop` no later save takes this one's turn; two such saves wait for each other.
        """
        began = time.monotonic()
        self.fence()
        pending = Pending(step)
        exchange = Exchange(self._world, deadline_seconds=self._options.deadline_seconds)
        save = Save(self._place(step), pending, exchange, on_commit=self._tidy, on_failure=self._failed.append)
        try:
            self._begin(save, pending, collect(model, optimizer, extra), meta, metric, may_drop=may_drop)
        except Exception as error:  # noqa: BLE001  -- the peers must hear of it before anyone sees it
            save.fail(error)
        if not (overlap and self._overlaps):
            self.fence()
        pending.stall_seconds = time.monotonic() - began
        return pending

    def remember(
        self,
        step: int,
        model: nn.Module,
        optimizer: Optimizer | None,
        meta: Mapping[str, Any],
        *,
        extra: Mapping[str, Tensor] | None = None,
        overlap: bool = False,
    ) -> None:
        """Copies the state into memory that outlives this rank, and nowhere else; `overlap` as in save.

        Does nothing without such memory, or while a storage that hangs has all of it in its hands.
        """
        if self._slabs[0].cell is None:
            return
        self.fence()
        state = collect(model, optimizer, extra)
        header = self._header(step, state, meta, None)
        layouts, plan = self._plan(state)
        self._stager.settle()
        if slab := self._line.take_free():
            copying = self._copy(slab, state, layouts, plan)
            self._copying = None, copying
            self._stager.then(partial(self._seal_and_give_back, slab, copying, self._moment(header, plan)))
        if not (overlap and self._overlaps):
            self.fence()

    @property
    def is_copying(self) -> bool:
        """Whether `fence` has something to wait for."""
        return self._copying is not None

    def fence(self) -> float:
        """Waits until the newest save's copy is made: the tensors may change from here on. Returns the seconds it took."""
        if self._copying is None:
            return 0.0
        began = time.monotonic()
        (pending, copying), self._copying = self._copying, None
        copying.fence()
        self._overlaps &= not copying.torn
        waited = time.monotonic() - began
        if pending:
            pending.stall_seconds += waited
        return waited

    def warm(self, model: nn.Module, optimizer: Optimizer | None, *, extra: Mapping[str, Tensor] | None = None) -> None:
        """Makes the first save as quick as later ones: plans it, and gets its memory ready in the background.

        Of use once the optimizer has its state, which is after its first step.
        """
        state = collect(model, optimizer, extra)
        layouts, plan = self._plan(state)
        while slab := self._line.take_free():
            self._stager.then(partial(self._ready, slab, plan, layouts, state))

    def restore(
        self, model: nn.Module, optimizer: Optimizer | None, *, extra: Mapping[str, Tensor] | None = None
    ) -> Restored | None:
        """Puts the newest whole commit, or a newer copy in memory, into model and optimizer; None when there is neither."""
        self.close()
        head = shared_head(self._storage, self._world)
        target = Target(model, optimizer, extra)
        found = self._recall(target, head.newest if head else None)
        if isinstance(found, Restored):
            return found
        if head is None or not head.commits:
            return None
        newest = load_newest(self._storage, head.commits, self._world, target.describe)
        meta = _put(newest.loaded, target)
        return Restored(newest.commit.step, meta, newest.commit, (*found, *newest.fell_back))

    def close(self) -> None:
        """Waits for the saves in flight, and for the removal of what they replaced."""
        self.fence()
        self._line.close()

    def _recall(self, target: Target, newest: Commit | None) -> Restored | tuple[str, ...]:
        if self._world.size > 1 and self._world.group is None:  # what one rank has in memory the others must be given
            return ()
        found = recall(self._slabs, self._world, target.describe, run=self._run, newest=newest)
        if found is None:
            return ()
        if not isinstance(found, Recalled):
            return (f"memory: {found['error']}",)
        meta, step = _put(found.loaded, target), found.loaded.manifest.step
        return Restored(step, meta, newest, is_from_memory=True, metric=found.metric)

    def _begin(
        self,
        save: Save,
        pending: Pending,
        state: State,
        meta: Mapping[str, Any],
        metric: float | None,
        *,
        may_drop: bool,
    ) -> None:
        header = self._header(pending.step, state, meta, metric)
        layouts, plan = self._plan(state)
        pending.size_bytes = plan.size_bytes
        self._stager.settle()
        slab = self._line.take_slab(may_drop=may_drop)
        if slab is None:
            save.give_way()
            return
        copying = self._copy(slab, state, layouts, plan)
        self._copying = pending, copying
        self._stager.then(partial(self._seal, slab, copying, self._moment(header, plan)))
        self._line.put(Job(slab, partial(save.run, header, layouts, plan, copying), save.supersede, may_drop))

    def _copy(self, slab: Slab, state: State, layouts: Mapping[str, Layout], plan: Plan) -> Copying:
        try:
            slab.fit(plan, layouts, self._world.rank, pinned=_is_on_gpu(state))
            return self._stager.copy(slab, state.tensors, at_once=state.fluid)
        except BaseException:
            self._line.give_back(slab)
            raise

    def _header(self, step: int, state: State, meta: Mapping[str, Any], metric: float | None) -> Header:
        return Header(
            run=self._run,
            step=step,
            created=self._clock(),
            meta=check_meta(meta),
            optimizer=state.optimizer,
            values=state.values,
            aliases=state.aliases,
            metric=metric if metric is not None and isfinite(metric) else None,
        )

    def _moment(self, header: Header, plan: Plan) -> Moment:
        return Moment(self._token, self._world.rank, self._world.size, plan.digest, header)

    def _ready(self, slab: Slab, plan: Plan, layouts: Mapping[str, Layout], state: State) -> None:
        try:
            slab.fit(plan, layouts, self._world.rank, pinned=_is_on_gpu(state))
        finally:
            self._line.give_back(slab)

    def _seal(self, slab: Slab, copying: Copying, moment: Moment) -> None:
        with suppress(CheckpointError, ValueError):  # torn, or no manifest can say it: who saves hears of it
            copying.wait()
            slab.seal(moment)

    def _seal_and_give_back(self, slab: Slab, copying: Copying, moment: Moment) -> None:
        try:
            self._seal(slab, copying, moment)
        finally:
            self._line.give_back(slab)

    def _plan(self, state: State) -> tuple[dict[str, Layout], Plan]:
        size = self._world.size
        marks: dict[str, object] = {name: mark_of(tensor) for name, tensor in state.tensors.items()}
        if self._planned is None or self._planned[0] != marks:
            layouts = {
                name: layout_of(tensor, world_size=size, owner=0 if name in state.owned else None)
                for name, tensor in state.tensors.items()
            }
            plan = make_plan(layouts, world_size=size, object_bytes=self._options.object_bytes)
            self._planned = (marks, layouts, plan)
        return self._planned[1:]

    def _place(self, step: int) -> Place:
        folder = self._folders.new(step)
        return Place(self._storage, self._token, self._world, folder, self._retention, self._options)

    def _tidy(self, head: Head, removed: tuple[Commit, ...]) -> None:
        remove(self._storage, removed)
        # Of saves before this one, which all ranks are done with. What hung in one and comes true later, is swept up once
        # the epoch is over.
        named = {folder_of(commit) for commit in head.commits}
        while self._failed:
            if (folder := self._failed.pop()) not in named:
                self._storage.delete_folder(folder)
        if not self._has_swept:
            sweep(self._storage, self._token, head)
            self._has_swept = True


def _slabs(memory: Sequence[str]) -> list[Slab]:
    cells: list[Cell | None] = []
    try:
        cells = [Cell(path) for path in memory]
    except OSError as error:  # a container that lets nobody look into another process
        _LOG.warning("the launcher's memory cannot be used, a crash of ranks will cost more: %s", error)
    return [Slab(cell) for cell in cells or [None, None]]


def _put(loaded: Loaded, target: Target) -> dict[str, Any]:
    loaded.apply()
    target.install(loaded.manifest)
    return loaded.manifest.meta


def _is_on_gpu(state: State) -> bool:
    return any(tensor.is_cuda for tensor in state.tensors.values())
