"""A controller's watches in the test's time: when they know all that they can know now."""

import threading
import time
from collections import defaultdict
from functools import partial
from random import Random
from typing import Any, Final

from ktrain_controller.watch import Reflector
from ktrain_controller.watches import Watches
from tests.controller.operator import Ledger, until
from tests.controller.trace.clock import Clock, Nap

LABELS: Final = {"app.kubernetes.io/managed-by": "ktrain"}
REAL_SECONDS: Final = 10  # for what takes milliseconds


class Eyes:
    """The reflectors' threads, and what each of those who listen to them has heard of."""

    def __init__(self, api: Ledger, watches: Watches, clock: Clock, chance: Random) -> None:
        self._api, self._clock = api, clock
        self._known: defaultdict[str, dict[str, str]] = defaultdict(dict)  # kind → name → version
        self._stop = threading.Event()
        self._naps: list[tuple[Reflector[Any], Nap]] = []
        self._threads: list[threading.Thread] = []
        for it in watches.all:
            self._open(it, chance)

    def settle(self) -> None:
        """Until all that listen to a store know what the server has, or its reflector rests."""
        deadline = time.monotonic() + REAL_SECONDS
        while late := [it.kind.plural for it, nap in self._naps if not (nap.is_on or self._is_in_step(it))]:
            assert time.monotonic() < deadline, late
            time.sleep(0.0003)

    @property
    def are_in_step(self) -> bool:
        """Whether they have everything."""
        return all(self._is_in_step(it) for it, _ in self._naps)

    def close(self) -> None:
        """Returns when no thread is left."""
        self._stop.set()
        self._clock.advance(0)
        for thread in self._threads:
            until("its watch ends", partial(self._is_gone, thread))

    def _open(self, it: Reflector[Any], chance: Random) -> None:
        # The last to be told: a store knows of a change a moment before those do who listen to it.
        it.store.listen(partial(self._learn, self._known[it.kind.plural]))
        nap = Nap(self._clock, self._stop)
        it.pause, it.now, it.chance = nap, lambda: self._clock.now, Random(chance.random())
        self._naps.append((it, nap))
        self._threads.append(threading.Thread(target=it.run, args=(self._stop,), daemon=True))
        self._threads[-1].start()

    def _learn(self, known: dict[str, str], old: Any, new: Any) -> None:
        if new is None:
            known.pop(old.name, None)
        else:
            known[new.name] = new.version

    def _is_in_step(self, it: Reflector[Any]) -> bool:
        plural = it.kind.plural
        wanted = {} if plural == "nodes" else LABELS
        with self._api.objects.changed:
            there = {each.key[1]: str(each.version) for each in self._api.objects.all(plural, selector=wanted)}
        # The server does not notice who has left.
        return self._known[plural] == there and self._api.watching(plural) >= 1

    def _is_gone(self, thread: threading.Thread) -> bool:
        self._api.drop_watches()  # one that was about to begin notices nothing before its first line
        return not thread.is_alive()
