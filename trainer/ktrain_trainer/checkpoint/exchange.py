"""How the ranks of one save learn each other's outcome: keys in a store, no collective, no barrier."""

import time
from contextlib import suppress
from typing import Any, Final

from ktrain.errors import CheckpointError, FencedError, KtrainError, PeerLostError, SupersededError
from ktrain_trainer.checkpoint.world import World, get_json, reaching_peers, set_json, wait_for_key

_KINDS: Final = {kind.__name__: kind for kind in (FencedError, SupersededError)}
_VERDICT_MARGIN_SECONDS = 120  # for rank 0's manifest and commit, after the last rank has reported


class Exchange:
    """One save's messages; every rank ends with the same verdict, or with the failure of the rank that failed."""

    def __init__(self, world: World, *, deadline_seconds: float) -> None:
        self._world = world
        self._base = world.next_base("save")
        self._seconds = deadline_seconds
        self._deadline = time.monotonic() + deadline_seconds

    def report(self, outcome: Any) -> None:
        """This rank's part is durable."""
        if self._world.store:
            set_json(self._world.store, self._rank_key(self._world.rank), outcome)

    def fail(self, error: BaseException) -> None:
        """This rank's part failed; nobody needs to wait for it."""
        if self._world.store:
            message = {"kind": type(error).__name__, "error": f"rank {self._world.rank}: {_text(error)}"}
            with suppress(PeerLostError), reaching_peers():  # the store is gone too: the peers will see that
                if not self._world.store.check([f"{self._base}/failed"]):  # the first failure is the cause
                    set_json(self._world.store, f"{self._base}/failed", message)

    def check(self) -> None:
        """Raises when another rank has failed already, or time is up."""
        with reaching_peers():
            has_failed = self._world.store is not None and self._world.store.check([f"{self._base}/failed"])
        if has_failed:
            self._raise_failure()
        if time.monotonic() > self._deadline:
            raise CheckpointError(f"storage did not take this rank's part of the save within {self._seconds:g} s")

    def gather(self, own: Any) -> list[Any]:
        """On rank 0: the outcomes of all ranks, in rank order."""
        store = self._world.store
        if store is None:
            return [own]
        for rank in range(1, self._world.size):
            found = wait_for_key(store, [f"{self._base}/failed", self._rank_key(rank)], deadline=self._deadline)
            if found is None:
                raise CheckpointError(f"rank {rank} did not finish its part of the save within {self._seconds:g} s")
            if found.endswith("/failed"):
                self._raise_failure()
        outcomes = [own, *(get_json(store, self._rank_key(rank)) for rank in range(1, self._world.size))]
        for rank in range(1, self._world.size):
            with suppress(RuntimeError, NotImplementedError):  # not every kind of store can delete
                store.delete_key(self._rank_key(rank))
        return outcomes

    def publish(self, commit: Any) -> None:
        """On rank 0: it is committed."""
        if self._world.store:
            set_json(self._world.store, f"{self._base}/verdict", commit)

    def verdict(self) -> Any:
        """On the other ranks: rank 0's commit."""
        store = self._world.store
        assert store is not None
        keys = [f"{self._base}/verdict", f"{self._base}/failed"]
        found = wait_for_key(store, keys, deadline=self._deadline + _VERDICT_MARGIN_SECONDS)
        if found is None:
            raise CheckpointError(f"rank 0 gave no verdict on the save within {self._seconds:g} s")
        if found.endswith("/failed"):
            self._raise_failure()
        return get_json(store, found)

    def _raise_failure(self) -> None:
        assert self._world.store is not None
        failure = get_json(self._world.store, f"{self._base}/failed")
        raise _KINDS.get(failure["kind"], CheckpointError)(failure["error"])

    def _rank_key(self, rank: int) -> str:
        return f"{self._base}/rank/{rank}"


def _text(error: BaseException) -> str:
    return str(error) if isinstance(error, KtrainError) else f"{type(error).__name__}: {error}"
