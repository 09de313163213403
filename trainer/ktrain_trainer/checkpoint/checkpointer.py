"""What the trainer calls: save in the background, restore the newest whole checkpoint."""

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import isfinite
from typing import Any, Final

from torch import Tensor, nn
from torch.optim import Optimizer

from ktrain.checkpoints.retention import Retention
from ktrain.checkpoints.tidy import remove, sweep
from ktrain.history import Commit, Head, Token
from ktrain.storage import Storage
from ktrain_trainer.checkpoint.exchange import Exchange
from ktrain_trainer.checkpoint.load import load_newest, shared_head
from ktrain_trainer.checkpoint.plan import Layout, Plan, make_plan
from ktrain_trainer.checkpoint.save import Header, Options, Pending, Place, Save, check_meta
from ktrain_trainer.checkpoint.sharding import layout_of
from ktrain_trainer.checkpoint.staging import stage
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

    `storage` is scoped to the run. At most one save is in flight: the next one waits for it.
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
        self._thread: threading.Thread | None = None
        self._saves: Counter[int] = Counter()
        self._planned: tuple[dict[str, Layout], Plan] | None = None
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
    ) -> Pending:
        """Copies the state now and uploads it in the background; a failure is raised by Pending.result()."""
        began = time.monotonic()
        pending = Pending(step)
        self.close()
        exchange = Exchange(self._world, deadline_seconds=self._options.deadline_seconds)
        save = Save(self._place(step), pending, exchange, self._tidy)
        try:
            work = self._prepare(pending, model, optimizer, meta, metric, extra)
        except Exception as error:  # noqa: BLE001  -- the peers must hear of it before anyone sees it
            save.fail(error)
        else:
            self._thread = threading.Thread(target=save.run, args=work, name="ktrain-save", daemon=True)
            self._thread.start()
        pending.stall_seconds = time.monotonic() - began
        return pending

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
        """Waits for the save in flight, and for the removal of what it replaced."""
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _prepare(
        self,
        pending: Pending,
        model: nn.Module,
        optimizer: Optimizer | None,
        meta: Mapping[str, Any],
        metric: float | None,
        extra: Mapping[str, Tensor] | None,
    ) -> tuple[Any, ...]:
        state = collect(model, optimizer, extra)
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
        return header, layouts, plan, list(stage(state.tensors, plan, self._world.rank))

    def _plan(self, state: State) -> tuple[dict[str, Layout], Plan]:
        size = self._world.size
        layouts = {
            name: layout_of(tensor, world_size=size, owner=0 if name in state.owned else None)
            for name, tensor in state.tensors.items()
        }
        if self._planned is None or self._planned[0] != layouts:
            self._planned = (layouts, make_plan(layouts, world_size=size, object_bytes=self._options.object_bytes))
        return self._planned

    def _place(self, step: int) -> Place:
        # A folder is never written twice: a second save of a step gets one of its own, on all ranks alike.
        self._saves[step] += 1
        again = f"-{self._saves[step]}" if self._saves[step] > 1 else ""
        folder = f"{self._token.prefix}/step-{step:09d}{again}"
        return Place(self._storage, self._token, self._world, folder, self._retention, self._options)

    def _tidy(self, head: Head, removed: tuple[Commit, ...]) -> None:
        remove(self._storage, removed)
        if not self._has_swept:
            sweep(self._storage, self._token, head)
            self._has_swept = True
