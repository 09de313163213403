"""A controller's watches in the test's time: when they know all that they can know now."""

import threading
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from random import Random
from typing import Any, Final

from ktrain_controller.watch import Reflector
from ktrain_controller.watches import Watches
from tests.controller.trace.clock import Clock, Nap
from tests.controller.trace.server import Server
from tests.controller.trace.turns import Turns
from tests.controller.trace.wires import Wires

LABELS: Final = {"app.kubernetes.io/managed-by": "ktrain"}


class Eyes:
    """The reflectors' threads, and what each of those who listen to them has heard of."""

    def __init__(
        self, api: Server, wires: Wires, watches: Watches, turns: Turns, *, clock: Clock, chance: Random
    ) -> None:
        self._api, self._wires, self._turns, self._clock = api, wires, turns, clock
        self._known: defaultdict[str, dict[str, str]] = defaultdict(dict)  # kind → name → version
        self._stop = threading.Event()
        self._naps: list[tuple[Reflector[Any], Nap]] = []
        for it in watches.all:
            self._open(it, chance)

    def settle(self) -> None:
        """All that listen to a store know what the server has, or can hear nothing of it now."""
        self._turns.go()
        self._check(self._is_in_step)

    def take_bookmarks(self) -> None:
        """A word from the server on each watch that delivers."""
        self._api.bookmark()
        self._turns.go()
        self._check(lambda it: self._has_just_heard(it) and self._is_in_step(it))

    def tire(self) -> None:
        """After time has gone on: watches that were silent for too long are given up, and no others."""
        self._wires.hang_up()

    def is_lost(self, plural: str) -> bool:
        """Whether its watch is half-open."""
        wire = self._wires.open.get(plural)
        return wire is not None and wire.watch.is_lost

    @property
    def are_in_step(self) -> bool:
        """Whether they have everything."""
        return all(self._is_in_step(it) for it, _ in self._naps)

    def close(self) -> None:
        """Returns when no thread is left."""
        self._stop.set()
        self._api.restart()
        self._turns.go()
        assert self._turns.are_over

    def _check(self, is_so: Callable[[Reflector[Any]], bool]) -> None:
        late = [it.kind.plural for it, nap in self._naps if not (self._is_deaf(it, nap) or is_so(it))]
        assert not late, f"nothing more comes of {late}"

    def _is_deaf(self, it: Reflector[Any], nap: Nap) -> bool:
        plural = it.kind.plural
        return nap.is_on or self._api.slowness.is_on(plural) or self.is_lost(plural)

    def _has_just_heard(self, it: Reflector[Any]) -> bool:
        wire = self._wires.open.get(it.kind.plural)
        return wire is not None and wire.heard_at == self._clock.now

    def _open(self, it: Reflector[Any], chance: Random) -> None:
        # The last to be told: a store knows of a change a moment before those do who listen to it.
        it.store.listen(partial(self._learn, self._known[it.kind.plural]))
        nap = Nap(self._clock, self._turns, self._stop)
        it.pause, it.now, it.chance = nap, lambda: self._clock.now, Random(chance.random())
        self._naps.append((it, nap))
        self._turns.start(partial(it.run, self._stop))

    def _learn(self, known: dict[str, str], old: Any, new: Any) -> None:
        if new is None:
            known.pop(old.name, None)
        else:
            known[new.name] = new.version

    def _is_in_step(self, it: Reflector[Any]) -> bool:
        plural = it.kind.plural
        wanted = {} if plural == "nodes" else LABELS
        there = {each.key[1]: str(each.version) for each in self._api.objects.all(plural, selector=wanted)}
        return self._known[plural] == there and self._api.watching(plural) >= 1
