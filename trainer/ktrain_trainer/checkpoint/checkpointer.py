"""What the trainer calls: save in the background, restore the newest whole checkpoint."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

from torch import Tensor, nn
from torch.optim import Optimizer

from ktrain.checkpoints.commit import Folders
from ktrain.checkpoints.retention import Retention
from ktrain.checkpoints.tidy import folder_of, remove, sweep
from ktrain.history import Commit, Head, Token
from ktrain.storage import Storage
from ktrain_trainer.checkpoint.exchange import Exchange
from ktrain_trainer.checkpoint.line import Job, Line
from ktrain_trainer.checkpoint.load import load_newest, shared_head
from ktrain_trainer.checkpoint.plan import Layout, Plan, make_plan
from ktrain_trainer.checkpoint.save import Header, Options, Pending, Place, Save, check_meta
from ktrain_trainer.checkpoint.sharding import layout_of, mark_of
from ktrain_trainer.checkpoint.staging import Copying, Slab, Stager
from ktrain_trainer.checkpoint.state import State, collect
from ktrain_trainer.checkpoint.target import Target
from ktrain_trainer.checkpoint.world import World

DEFAULT_RETENTION: Final = Retention()
DEFAULT_OPTIONS: Final = Options()


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore found."""

    step: int
    meta: dict[str, Any]
    commit: Commit
    fell_back: tuple[str, ...] = ()  # why newer commits were passed over, the newest first


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
    ) -> None:
        self._storage, self._token, self._world, self._run = storage, token, world, run
        self._retention, self._clock, self._options = retention, clock, options
        self._line, self._stager = Line(), Stager()
        self._copying: tuple[Pending, Copying] | None = None  # that was not fenced yet
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
        pending.stall_seconds += (waited := time.monotonic() - began)
        return waited

    def warm(self, model: nn.Module, optimizer: Optimizer | None, *, extra: Mapping[str, Tensor] | None = None) -> None:
        """Makes the first save as quick as later ones: plans it, and gets its memory ready in the background.

        Of use once the optimizer has its state, which is after its first step.
        """
        state = collect(model, optimizer, extra)
        layouts, plan = self._plan(state)
        slab = self._line.take_slab()
        assert slab is not None  # nothing waits yet
        self._stager.allocate(lambda: self._ready(slab, plan, layouts, state))

    def restore(
        self, model: nn.Module, optimizer: Optimizer | None, *, extra: Mapping[str, Tensor] | None = None
    ) -> Restored | None:
        """Puts the newest whole commit into model and optimizer; None when nothing was ever committed."""
        self.close()
        head = shared_head(self._storage, self._world)
        if head is None or not head.commits:
            return None
        target = Target(model, optimizer, extra)
        loaded = load_newest(self._storage, head.commits, self._world, target.describe)
        loaded.apply()
        target.install(loaded.manifest)
        return Restored(loaded.commit.step, loaded.manifest.meta, loaded.commit, loaded.fell_back)

    def close(self) -> None:
        """Waits for the saves in flight, and for the removal of what they replaced."""
        self.fence()
        self._line.close()

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
        header = Header(
            run=self._run,
            step=pending.step,
            created=self._clock(),
            meta=check_meta(meta),
            optimizer=state.optimizer,
            values=state.values,
            aliases=state.aliases,
            metric=metric if metric is not None and isfinite(metric) else None,
        )
        layouts, plan = self._plan(state)
        pending.size_bytes = plan.size_bytes
        self._stager.settle()
        slab = self._line.take_slab(may_drop=may_drop)
        if slab is None:
            save.give_way()
            return
        try:
            slab.fit(plan, layouts, self._world.rank, pinned=_is_on_gpu(state))
            copying = self._stager.copy(slab, state.tensors, at_once=state.fluid)
        except BaseException:
            self._line.give_back(slab)
            raise
        self._copying = pending, copying
        work = lambda done: save.run(header, layouts, plan, copying, done)  # noqa: E731
        self._line.put(Job(slab, work, save.supersede, may_drop))

    def _ready(self, slab: Slab, plan: Plan, layouts: Mapping[str, Layout], state: State) -> None:
        try:
            slab.fit(plan, layouts, self._world.rank, pinned=_is_on_gpu(state))
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


def _is_on_gpu(state: State) -> bool:
    return any(tensor.is_cuda for tensor in state.tensors.values())
