"""Ranks with a launcher's memory, that die and come again."""

import os
import signal
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, TypeVar

import torch.distributed as dist

from ktrain.storage import Storage, open_storage
from ktrain_trainer.checkpoint import Checkpointer
from ktrain_trainer.checkpoint.fetch import Fetch
from tests.checkpoint.models import build, digests, train
from tests.checkpoint.work import SMALL, claim, meet, world_of
from tests.faults import WatchedStorage
from tests.ranks import Rank

T = TypeVar("T")


class Hanging(WatchedStorage):
    """Takes no object while it hangs."""

    hangs = False

    def _do(self, verb: str, key: str, act: Callable[[], T]) -> T:
        if self.hangs and verb == "create":
            threading.Event().wait()
        return act()


def checkpointer(rank: Rank, url: str, cells: list[list[str]], storage: Storage, run: str = "run") -> Checkpointer:
    """In the next epoch."""
    rank.join_gloo()
    token = claim(rank, open_storage(url))
    world = replace(world_of(rank), group=dist.group.WORLD)
    return Checkpointer(storage, token, world, run=run, options=SMALL, memory=cells[rank.rank])


def train_and_die(
    rank: Rank, url: str, cells: list[list[str]], mode: str, steps: Mapping[int, str], acts: Mapping[str, Any]
) -> None:
    """hang: storage takes nothing of this step's save; cut: (rank, step) that is killed before the seal."""
    storage = Hanging(open_storage(url))
    saver = checkpointer(rank, url, cells, storage, acts.get("run", "run"))
    model, made = build(mode, size=rank.size)
    done = 0
    if (restored := saver.restore(model, made)) is not None:
        done = restored.step
    for step, act in sorted(steps.items()):
        if step <= done:
            continue
        train(model, made, range(done, step))
        done = step
        storage.hangs = acts.get("hang") == step
        if acts.get("cut") == (rank.rank, step):
            saver._stager._pool.submit(threading.Event().wait)
        if act == "remember":
            saver.remember(step, model, made, {"step": step}, overlap=True)
        else:
            pending = saver.save(step, model, made, {"step": step}, overlap=True)
            if not storage.hangs:
                pending.result(30)
        if acts.get("cut") != (rank.rank, step):
            saver.fence()
            saver._stager.settle()
    meet(rank, "end")
    os.kill(os.getpid(), signal.SIGKILL)


def restore(rank: Rank, url: str, cells: list[list[str]], mode: str, garbled: str = "") -> tuple[Any, ...]:
    """What is found, in a model that begins elsewhere."""
    if garbled and rank.rank == 0:
        send = Fetch._send

        def wrong(self: Fetch, read: Any) -> Any:
            if self._storage.url == "memory":
                data = bytearray(self._to_pass[read])
                data[len(data) // 2] ^= 4
                self._to_pass[read] = data
            return send(self, read)

        Fetch._send = wrong  # type: ignore[method-assign]
    saver = checkpointer(rank, url, cells, open_storage(url))
    model, made = build(mode, size=rank.size, start=99.0)
    found = saver.restore(model, made)
    assert found is not None
    assert found.meta == {"step": found.step}
    return digests(model, made), found.step, found.is_from_memory, found.is_committed, found.fell_back
