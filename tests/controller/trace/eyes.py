"""A controller's watches in the test's time: when they know all that they can know now."""

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any, Final

from ktrain_controller.watch import Reflector
from ktrain_controller.watches import Watches
from tests.controller.operator import Ledger, until
from tests.controller.trace.clock import Clock, Nap
from tests.controller.trace.slowness import Slowness
from tests.controller.trace.wires import Wires

LABELS: Final = {"app.kubernetes.io/managed-by": "ktrain"}
REAL_SECONDS: Final = 10  # for what takes milliseconds


class Eyes:
    """The reflectors' threads, and what each of those who listen to them has heard of."""

    def __init__(
        self, api: Ledger, wires: Wires, watches: Watches, slowness: Slowness, *, clock: Clock, chance: Random
    ) -> None:
        self._api, self._wires, self._slowness, self._clock = api, wires, slowness, clock
        self._known: defaultdict[str, dict[str, str]] = defaultdict(dict)  # kind → name → version
        self._stop = threading.Event()
        self._naps: list[tuple[Reflector[Any], Nap]] = []
        self._threads: list[threading.Thread] = []
        for it in watches.all:
            self._open(it, chance)

    def settle(self) -> None:
        """Until all that listen to a store know what the server has, or can hear nothing of it now."""
        self._wait_for(self._is_in_step)

    def take_bookmarks(self) -> None:
        """A word from the server on each watch that delivers."""
        self._api.bookmark()
        self._wait_for(lambda it: self._has_just_heard(it) and self._is_in_step(it))

    def tire(self) -> None:
        """After time has gone on: watches that were silent for too long are given up, and no others."""
        for wire in self._wires.hang_up():
            assert self._api.is_lost(wire.port), f"a watch that works was given up after {wire.silence:g} s"

    def is_lost(self, plural: str) -> bool:
        """Whether its watch is half-open."""
        wire = self._wires.open.get(plural)
        return wire is not None and self._api.is_lost(wire.port) and self._clock.now < wire.heard_at + wire.silence

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

    def _wait_for(self, is_so: Callable[[Reflector[Any]], bool]) -> None:
        deadline = time.monotonic() + REAL_SECONDS
        while late := [it.kind.plural for it, nap in self._naps if not (self._is_deaf(it, nap) or is_so(it))]:
            assert time.monotonic() < deadline, late
            time.sleep(0.0003)

    def _is_deaf(self, it: Reflector[Any], nap: Nap) -> bool:
        plural = it.kind.plural
        return nap.is_on or self._slowness.is_on(plural) or self.is_lost(plural)

    def _has_just_heard(self, it: Reflector[Any]) -> bool:
        wire = self._wires.open.get(it.kind.plural)
        return wire is not None and wire.heard_at == self._clock.now

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
        self._slowness.end()
        self._api.speak()  # one that was about to begin notices nothing before its first line
        return not thread.is_alive()
