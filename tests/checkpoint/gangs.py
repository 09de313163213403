"""Ranks of one epoch as threads with a store of their own; what they save says which epoch and step it is of."""

import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import torch
from torch import nn
from torch._C._distributed_c10d import HashStore, Store

from ktrain.checkpoints.read import read_blocks, read_manifest
from ktrain.checkpoints.verify import pieces
from ktrain.errors import KtrainError
from ktrain.history import Head, Token, claim_epoch, read_head
from ktrain.names import KEY_HEAD
from ktrain.storage import Storage
from ktrain_trainer.checkpoint import Checkpointer, Options, Pending, Restored, Retention, World
from tests.checkpoint.scripted import KilledError, Life

OPTIONS: Final = Options(object_bytes=256, block_bytes=64, deadline_seconds=60)
ORPHAN: Final = "a0001-e0001/step-000000009/0000-0000.bin"
_POLL_SECONDS: Final = 0.005


class Marked(nn.Module):
    """A model whose every number tells epoch and step, so that no mixture passes for a checkpoint."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ParameterList(nn.Parameter(torch.zeros(8, 8), requires_grad=False) for _ in range(4))
        self.register_buffer("seen", torch.zeros(3))

        self.mark(0, 0)

    def mark(self, epoch: int, step: int) -> None:
        """Makes it the state of this step as this epoch trains it."""
        for tensor, wanted in zip(self.state_dict().values(), _values(self, epoch, step), strict=True):
            tensor.copy_(wanted)

    def read_mark(self) -> tuple[int, int]:
        """Epoch and step; fails the test when there is a number of another."""
        first = int(self.layers[0][0, 0])
        epoch, step = first // 100_000, first % 100_000 // 1000
        for (name, tensor), wanted in zip(self.state_dict().items(), _values(self, epoch, step), strict=True):
            assert torch.equal(tensor, wanted), f"{name} is not that of epoch {epoch}, step {step}"
        return epoch, step


def _values(model: nn.Module, epoch: int, step: int) -> list[torch.Tensor]:
    base = 100_000 * epoch + 1000 * step
    return [
        base + 64 * number + torch.arange(it.numel(), dtype=it.dtype).reshape(it.shape)
        for number, it in enumerate(model.state_dict().values())
    ]


@dataclass(frozen=True, slots=True)
class Said:
    """What a rank's call came to: an answer, an error, or nothing as the rank is dead."""

    value: Any = None
    error: KtrainError | None = None
    is_dead: bool = False

    @property
    def is_ok(self) -> bool:
        return self.error is None and not self.is_dead


class MortalStore(Store):
    """A store that a dead rank cannot write to any more."""

    def __init__(self, store: Store, life: Life) -> None:
        super().__init__()
        self._store, self._life = store, life

    def _alive(self) -> Store:
        self._life.check()
        return self._store

    def set(self, key: str, value: str) -> None:
        self._alive().set(key, value)

    def get(self, key: str) -> bytes:
        return self._alive().get(key)

    def add(self, key: str, value: int) -> int:
        return self._alive().add(key, value)

    def check(self, keys: list[str]) -> bool:
        return self._alive().check(keys)

    def delete_key(self, key: str) -> bool:
        return self._alive().delete_key(key)

    def wait(self, keys: list[str], timeout: timedelta = timedelta(seconds=60)) -> None:
        self._alive().wait(keys, timeout)


class Gang:
    """All ranks of an epoch: rank r uses the r-th storage and ends with the r-th life."""

    def __init__(
        self,
        storages: Sequence[Storage],
        *,
        lives: Sequence[Life] | None = None,
        keep: int = 1,
        options: Options = OPTIONS,
    ) -> None:
        self._storages, self._options, self._keep = storages, options, keep
        self.lives = lives or [Life() for _ in storages]
        self._pool = ThreadPoolExecutor(len(storages), "gang")
        self._models = [Marked() for _ in storages]
        self._savers: list[Checkpointer] = []
        self.token = Token(1, 0)

    def claim(self) -> Said:
        """What the launcher does for all of them, as rank 0."""
        said = self._said(0, lambda: claim_epoch(self._storages[0], attempt=1))
        if said.is_ok:
            self.token = said.value
            self._assemble()
        return said

    def _assemble(self) -> None:
        store = HashStore()
        size = len(self._storages)
        stores = [MortalStore(store, life) for life in self.lives]
        self._savers = [
            Checkpointer(
                storage,
                self.token,
                World.from_store(stores[rank], rank=rank, size=size, timeout_seconds=60),
                run="run",
                retention=Retention(self._keep),
                options=self._options,
            )
            for rank, storage in enumerate(self._storages)
        ]

    def restore(self) -> list[Said]:
        """On all ranks together."""
        return self._on_all(lambda rank: self._savers[rank].restore(self._models[rank], None))

    def begin_save(self, step: int) -> list[Said]:
        """Marks the models and calls save; the values are the Pendings."""
        for model in self._models:
            model.mark(self.token.epoch, step)
        return self._on_all(lambda rank: self._savers[rank].save(step, self._models[rank], None, {"step": step}))

    def end_save(self, begun: Sequence[Said]) -> list[Said]:
        """Waits for what came of them, and for the removal of what they replaced."""
        return self._on_all(lambda rank: self._settled(rank, begun[rank]))

    def save(self, step: int) -> list[Said]:
        """Both."""
        return self.end_save(self.begin_save(step))

    def marks(self) -> list[tuple[int, int]]:
        """What each rank's model is."""
        return [model.read_mark() for model in self._models]

    def end(self) -> None:
        """SIGKILL for all of them."""
        for life in self.lives:
            life.end()

    def close(self) -> None:
        """Waits for what those that still live are doing, then ends them."""
        self._on_all(lambda rank: self._closed(rank) if self._savers else None)
        self.end()
        self._pool.shutdown()

    def _settled(self, rank: int, begun: Said) -> Any:
        if not begun.is_ok:
            raise begun.error or KilledError
        pending: Pending = begun.value
        while True:
            try:
                commit = pending.result(_POLL_SECONDS)
            except TimeoutError:
                self.lives[rank].check()
                continue
            self._closed(rank)
            return commit

    def _closed(self, rank: int) -> None:
        """Waits as long as the rank lives: a thread that was killed is waited for in vain."""
        closing = threading.Thread(target=self._savers[rank].close, daemon=True)
        closing.start()
        while closing.is_alive():
            self.lives[rank].check()
            closing.join(_POLL_SECONDS)

    def _on_all(self, act: Any) -> list[Said]:
        ranks = range(len(self._storages))
        return list(self._pool.map(lambda rank: self._said(rank, lambda: act(rank)), ranks))

    def _said(self, rank: int, act: Any) -> Said:
        try:
            self.lives[rank].check()
            return Said(act())
        except KilledError:
            return Said(is_dead=True)
        except KtrainError as error:
            return Said(error=error)


def restored(said: Sequence[Said]) -> Restored | None:
    """What all ranks restored; fails the test when one did not, or another than the others."""
    assert all(it.is_ok for it in said), said
    assert len({it.value.commit if it.value else None for it in said}) == 1
    value: Restored | None = said[0].value
    return value


def check_whole(storage: Storage) -> Head | None:
    """Fails the test when HEAD names a commit of which a byte is missing or other than written."""
    head = read_head(storage)
    for commit in head.commits if head else ():
        for item in read_manifest(storage, commit).objects:
            for begin, end in pieces(item):
                read_blocks(storage, item, begin, end)
    return head


def check_no_orphans(storage: Storage) -> None:
    """Fails the test when there is anything but HEAD and what its commits name."""
    head = check_whole(storage)
    assert head
    wanted = {KEY_HEAD}
    for commit in head.commits:
        wanted |= {commit.manifest, *(item.key for item in read_manifest(storage, commit).objects)}
    found = {stat.key for stat in storage.list()}
    assert found == wanted, f"left over: {sorted(found - wanted)}"


def begin_run(storage: Storage, ranks: int = 2) -> None:
    """One commit, of step 1, and what a crash left beside it."""
    gang = Gang([storage] * ranks)
    gang.claim()
    assert all(it.is_ok for it in gang.save(1))
    gang.close()
    storage.put(ORPHAN, b"half a save")


def check_next_epoch(storages: Sequence[Storage], plain: Storage, *, acknowledged: int) -> int:
    """A new epoch restores what HEAD has as the newest, not older than what anybody was promised, and saves a step more.

    Returns the step that it restored.
    """
    head = check_whole(plain)
    assert head
    newest = head.newest
    assert newest
    assert newest.step >= acknowledged, f"step {acknowledged} was acknowledged and is lost"
    gang = Gang(storages)
    try:
        assert gang.claim().is_ok
        found = restored(gang.restore())
        assert found is not None
        assert (found.commit, found.fell_back) == (newest, ())
        assert set(gang.marks()) == {(newest.epoch, newest.step)}
        said = gang.save(newest.step + 1)
        assert all(it.is_ok for it in said), said
    finally:
        gang.close()
    return newest.step
