"""What ranks do in the checkpoint tests."""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, NoReturn

import torch.distributed as dist

from ktrain.errors import StorageError
from ktrain.history import Token, claim_epoch
from ktrain.storage import Storage, open_storage
from ktrain.storage.memory import MemoryStorage
from ktrain_trainer.checkpoint import Checkpointer, Options, Retention, World, init_from
from tests.checkpoint.models import build, digests, train
from tests.faults import FaultyStorage, die, refuse
from tests.ranks import Rank

SMALL = Options(object_bytes=256, block_bytes=64, deadline_seconds=30)
_ACTS: Mapping[str, Callable[[], NoReturn]] = {"die": die, "refuse": refuse}


def world_of(rank: Rank) -> World:
    """A world that agrees through the store."""
    return World.from_store(rank.store, rank=rank.rank, size=rank.size, timeout_seconds=30)


def claim(rank: Rank, storage: Storage, attempt: int = 1) -> Token:
    """Rank 0 claims, the others are told: in ktrain the launcher does that."""
    if rank.rank == 0:
        rank.store.set("token", claim_epoch(storage, attempt=attempt).prefix)
    rank.store.wait(["token"])
    return Token.parse(rank.store.get("token").decode())


def open_checkpointer(rank: Rank, url: str, storage: Storage | None = None, keep: int = 2) -> Checkpointer:
    """In a new epoch of the run at url."""
    token = claim(rank, open_storage(url))
    return Checkpointer(
        storage or open_storage(url), token, world_of(rank), run="run", retention=Retention(keep), options=SMALL
    )


def save(rank: Rank, url: str, mode: str, step: int, optimizer: str = "adamw") -> dict[str, str]:
    """Trains to a step and saves it."""
    if mode == "fsdp":
        rank.join_gloo()
    model, made = build(mode, optimizer, size=rank.size)
    train(model, made, range(step))
    saver = open_checkpointer(rank, url)
    assert saver.save(step, model, made, {"step": step}).result(30).step == step
    saver.close()
    return digests(model, made)


def restore_all(rank: Rank, urls: list[str], mode: str, optimizer: str = "adamw") -> list[dict[str, str]]:
    """Restores from each place into a model that begins elsewhere, and trains one step more."""
    if mode == "fsdp":
        rank.join_gloo()
    world = world_of(rank)
    found = []
    for url in urls:
        model, made = build(mode, optimizer, size=rank.size, start=99.0)
        restored = Checkpointer(open_storage(url), Token(1, 1), world, run="run", options=SMALL).restore(model, made)
        assert restored is not None
        train(model, made, range(restored.step, restored.step + 1))
        found.append(digests(model, made))
    return found


def restore_together(rank: Rank, url: str, mode: str) -> tuple[dict[str, str], list[str], Any]:
    """Restores with a group to pass bytes on; returns the state, this rank's reads, and why it fell back."""
    rank.join_gloo()
    world = replace(world_of(rank), group=dist.group.WORLD)
    storage = FaultyStorage(open_storage(url), refuse, at=1 << 30, only="read ")
    model, made = build(mode, "adamw", size=rank.size, start=99.0)
    restored = Checkpointer(storage, Token(1, 1), world, run="run", options=SMALL).restore(model, made)
    assert restored is not None
    return digests(model, made), storage.calls, restored.fell_back


def save_and_fall(
    rank: Rank, url: str, act: str, who: int, at: int, after: bool, only: str = "", mode: str = "plain"
) -> list[str]:
    """Saves step 2 while one rank's storage acts up at a call; returns what each save said, a second one included."""
    model, made = build(mode, "tiny", size=rank.size)
    train(model, made, range(2))
    storage: Storage = open_storage(url)
    if rank.rank == who:
        storage = FaultyStorage(storage, _ACTS[act], at=at, after=after, only=only, for_ever=False)
    saver = open_checkpointer(rank, url, storage)
    began = time.monotonic()
    said = [outcome(lambda: saver.save(2, model, made, {}).result(30))]
    assert time.monotonic() - began < 10, "somebody waited for a timeout"
    train(model, made, range(2, 3))
    said.append(outcome(lambda: saver.save(3, model, made, {}).result(30)))
    saver.close()
    return said


def save_as_zombie(rank: Rank, url: str) -> str:
    """Claims an epoch, is replaced, and saves all the same."""
    model, made = build("plain")
    saver = open_checkpointer(rank, url)
    meet(rank, "claimed")
    if rank.rank == 1:
        claim_epoch(open_storage(url), attempt=1)
    meet(rank, "replaced")
    return outcome(lambda: saver.save(5, model, made, {}).result(30))


def save_different_models(rank: Rank, url: str) -> str:
    """Ranks that do not agree what they train."""
    model, made = build("plain", "adamw" if rank.rank else "sgd")
    train(model, made, range(1))
    return outcome(lambda: open_checkpointer(rank, url).save(1, model, made, {}).result(30))


def save_own_statistics(rank: Rank, url: str) -> str:
    """Each rank has seen other data, so its buffers differ."""
    model, made = build("plain", "tiny")
    for buffer in model.buffers():
        buffer.fill_(7 + rank.rank)
    return outcome(lambda: open_checkpointer(rank, url).save(1, model, made, {}).result(30))


def save_faster_than_storage(rank: Rank, url: str) -> list[str]:
    """Three saves at once, while rank 1's storage keeps the first one waiting."""
    model, made = build("plain")
    gate = threading.Event()
    storage: Storage = open_storage(url)
    if rank.rank == 1:
        storage = FaultyStorage(storage, lambda: gate.wait(30), only="create", for_ever=False)
    saver = open_checkpointer(rank, url, storage)
    first = saver.save(1, model, made, {})
    meet(rank, "first")
    rest = [saver.save(step, model, made, {}) for step in (2, 3)]
    gate.set()
    said = [outcome(partial(pending.result, 30)) for pending in (first, *rest)]
    saver.close()
    return said


def save_while_storage_hangs(rank: Rank, url: str) -> tuple[list[str], float]:
    """Rank 1's storage takes an object and does not answer; then everything works again."""
    model, made = build("plain")
    gate = threading.Event()
    storage: Storage = open_storage(url)
    if rank.rank == 1:
        storage = FaultyStorage(storage, lambda: gate.wait(60), only="create", for_ever=False)
    token, options = claim(rank, open_storage(url)), replace(SMALL, deadline_seconds=1)
    saver = Checkpointer(storage, token, world_of(rank), run="run", options=options)
    began = time.monotonic()
    first = outcome(partial(saver.save(1, model, made, {}).result, 60))
    waited = time.monotonic() - began
    rest = [outcome(partial(saver.save(step, model, made, {}).result, 60)) for step in (2, 3)]
    gate.set()
    saver.close()
    return [first, *rest], waited


def save_nonsense(rank: Rank, url: str) -> str:
    """One rank has something that cannot be saved."""
    model, made = build("plain")
    meta = {"odd": object()} if rank.rank == 1 else {}
    return outcome(lambda: open_checkpointer(rank, url).save(1, model, made, meta).result(30))


def restore(rank: Rank, url: str, mode: str) -> tuple[Any, dict[str, str], dict[str, str]]:
    """Restores and returns what was said, and the state before and after."""
    if mode == "fsdp":
        rank.join_gloo()
    model, made = build(mode, "tiny", size=rank.size, start=99.0)
    before = digests(model, made)
    restorer = Checkpointer(open_storage(url), Token(1, 1), world_of(rank), run="run", options=SMALL)
    try:
        restored = restorer.restore(model, made)
    except StorageError as error:
        return f"{type(error).__name__}: {error}", before, digests(model, made)
    assert restored is not None
    return (restored.step, restored.fell_back), before, digests(model, made)


def begin_from(rank: Rank, source: str, mode: str) -> tuple[int, dict[str, str]]:
    """Takes another run's weights."""
    if mode == "fsdp":
        rank.join_gloo()
    model, _ = build(mode, size=rank.size, start=99.0)
    commit = init_from(model, source, world=world_of(rank))
    found = digests(model, None)
    # Another run, in a world made anew: nothing of the first may be seen.
    assert Checkpointer(MemoryStorage(), Token(1, 1), world_of(rank), run="new").restore(model, None) is None
    return commit.step, found


def meet(rank: Rank, where: str) -> None:
    """Waits until all ranks are there."""
    if rank.store.add(where, 1) == rank.size:
        rank.store.set(f"{where}/all", "1")
    rank.store.wait([f"{where}/all"])


def outcome(act: Callable[[], object]) -> str:
    """'ok', or the error as text."""
    try:
        act()
    except StorageError as error:
        return f"{type(error).__name__}: {error}"
    return "ok"
