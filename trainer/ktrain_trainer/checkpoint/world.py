"""The ranks that save and restore together, as far as checkpoints care."""

import itertools
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final, Self

import torch.distributed as dist
from torch.distributed.distributed_c10d import Store

from ktrain.errors import PeerLostError

_LONGEST_NAP: Final = 0.05


@dataclass(frozen=True)
class World:
    """Who takes part: my rank, how many, a store to exchange outcomes, and a way to agree.

    `agree` is called by all ranks in the same order and returns True on all of them when each said True.
    Worlds over one store are numbered, as all ranks make them in the same order: their keys never meet.
    """

    rank: int = 0
    size: int = 1
    store: Store | None = None  # needed from two ranks on; its keys must be of this epoch alone
    agree: Callable[[bool], bool] = field(default=bool)
    group: Any = (
        None  # a gloo process group, through which ranks pass on what they have read; None: each reads for itself
    )
    _rounds: Iterator[int] = field(default_factory=itertools.count, init=False, repr=False)
    _number: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.size:
            raise ValueError(f"rank {self.rank} of {self.size}")
        if self.size > 1 and self.store is None:
            raise ValueError(f"{self.size} ranks need a store to exchange outcomes")
        if self.store is not None:
            object.__setattr__(self, "_number", _next_number(self.store, "world", self.rank))

    def next_base(self, what: str) -> str:
        """Where in the store the next joint operation puts its keys: the same on all ranks, never used twice."""
        return f"ktrain/{what}/{self._number}/{next(self._rounds)}"

    @classmethod
    def from_store(cls, store: Store, *, rank: int, size: int, timeout_seconds: float = 600) -> Self:
        """A world that agrees through the store, without collectives."""
        return cls(rank, size, store, Agreement(store, rank, size, timeout_seconds))


class Agreement:
    """Agrees through a store: counts the ranks, and those that said no."""

    def __init__(self, store: Store, rank: int, size: int, timeout_seconds: float) -> None:
        self._store, self._rank, self._size, self._timeout = store, rank, size, timeout_seconds
        self._round = 0
        self._number = _next_number(store, "agreement", rank)

    def __call__(self, ok: bool) -> bool:
        """Whether all ranks said True; PeerLostError when one of them says nothing in time."""
        self._round += 1
        base = f"ktrain/agree/{self._number}/{self._round}"
        with reaching_peers():
            if not ok:
                self._store.add(f"{base}/no", 1)
            if self._store.add(f"{base}/said", 1) == self._size:
                self._store.set(f"{base}/all", "1")
        if not wait_for_key(self._store, [f"{base}/all"], deadline=time.monotonic() + self._timeout):
            raise PeerLostError(f"rank {self._rank}: not all of {self._size} ranks answered within {self._timeout:g} s")
        with reaching_peers():
            return bool(self._store.add(f"{base}/no", 0) == 0)


def _next_number(store: Store, what: str, rank: int) -> int:
    with reaching_peers():
        return store.add(f"ktrain/{what}s/{rank}", 1)


@contextmanager
def reaching_peers() -> Iterator[None]:
    """Says plainly that the store is gone, which means that its host, or the network to it, is."""
    try:
        yield
    except dist.DistError as error:
        raise PeerLostError(f"the store that the ranks share cannot be reached: {error}") from error


def decide(world: World, what: str, own: Any, choose: Callable[[list[Any]], Any], *, seconds: float) -> Any:
    """What rank 0 chooses by what all ranks say, in rank order; JSON, the same on all of them."""
    base = world.next_base(what)
    if world.store is None:
        return choose([own])
    deadline = time.monotonic() + seconds
    set_json(world.store, f"{base}/{world.rank}", own)
    if world.rank == 0:
        said = [_await(world.store, f"{base}/{rank}", deadline) for rank in range(world.size)]
        set_json(world.store, f"{base}/choice", choose(said))
    return _await(world.store, f"{base}/choice", deadline)


def _await(store: Store, key: str, deadline: float) -> Any:
    if wait_for_key(store, [key], deadline=deadline) is None:
        raise PeerLostError(f"not all ranks took part in what they decide together: {key} is missing")
    return get_json(store, key)


def wait_for_key(store: Store, keys: list[str], *, deadline: float) -> str | None:
    """The first of the keys that exists, None after the deadline.

    Asks again and again instead of using the store's own wait, which keeps its one connection busy: the training
    thread may share it.
    """
    nap = 0.001
    while True:
        with reaching_peers():
            found = next((key for key in keys if store.check([key])), None)
        if found is not None:
            return found
        if time.monotonic() >= deadline:
            return None
        time.sleep(nap)
        nap = min(nap * 1.5, _LONGEST_NAP)


def set_json(store: Store, key: str, value: Any) -> None:
    """Publishes a JSON value."""
    with reaching_peers():
        store.set(key, json.dumps(value, separators=(",", ":")))


def get_json(store: Store, key: str) -> Any:
    """Reads a JSON value that exists."""
    with reaching_peers():
        return json.loads(store.get(key))
