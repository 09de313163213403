"""One controller, put together as `Controller` does it, but without a thread that acts by itself."""

from datetime import UTC, datetime
from functools import partial
from random import Random
from typing import Any, Final

import pytest

from ktrain_controller import heartbeats, lease
from ktrain_controller.act import Actor
from ktrain_controller.ends import Ends
from ktrain_controller.heartbeats import Heartbeats
from ktrain_controller.lease import Lease
from ktrain_controller.limit import Allowance
from ktrain_controller.metrics import Metrics
from ktrain_controller.model import Pod
from ktrain_controller.observation import Fleet, Limits
from ktrain_controller.outage import Outage
from ktrain_controller.reconcile import Reconciler
from ktrain_controller.watches import Watches
from ktrain_controller.workers import Workers
from ktrain_controller.world import World
from tests.controller.trace.clock import Clock
from tests.controller.trace.eyes import Eyes
from tests.controller.trace.queue import Queue
from tests.controller.trace.rounds import Rounds
from tests.controller.trace.server import Server
from tests.controller.trace.turns import REAL_SECONDS, Turns
from tests.controller.trace.wires import Wires

LIMITS: Final = Limits(start=100_000)
MAX_TRIES: Final = 8  # to lead, in one step


class Brain:
    """It acts when it is told to: `lead`, then `work`."""

    def __init__(self, api: Server, turns: Turns, clock: Clock, chance: Random) -> None:
        self._api, self._clock = api, clock
        self.said: list[tuple[str, dict[str, Any]]] = []
        self._lease_due = 0.0
        self._cluster = Wires(api, turns, clock)
        self.queue, self._metrics = Queue(lambda: clock.now, chance.random), Metrics()
        self.watches = Watches.of(self._cluster, "", self._metrics, self._say, has_nodes=True)
        self._ends = Ends(self._now, lambda: clock.now)
        self._outage = Outage(self._say)
        self._heartbeats = self._make_heartbeats(chance)
        self.met: set[str] = set()  # uids of pods that it has ever seen
        self.heard: set[str] = set()  # and of those that were seen to have failed
        self._allowance = Allowance(60, clock=lambda: clock.now)
        self._lease = self._make_lease()
        self._workers = Workers(
            self.queue, self._make_reconciler().look, may_act=lambda: self._lease.is_leader and self.watches.are_synced,
            metrics=self._metrics, say=self._say,
        )  # fmt: skip
        self._listen()
        self.eyes = Eyes(api, self._cluster, self.watches, turns, clock=clock, chance=chance)

    def close(self) -> None:
        """As if its process had been killed, and its lease had run out."""
        self.eyes.close()
        self._api.give_lease("")

    def lead(self) -> None:
        """Renews its lease when that is due: as often as a refused one would have been tried again meanwhile."""
        late = self._clock.now - self._lease_due
        for _ in range(int(min(late, MAX_TRIES * lease.RETRY) / lease.RETRY) + 1 if late >= 0 else 0):
            self._lease_due = self._clock.now + self._lease.attempt()
            if self._lease.is_leader:
                return

    def work(self) -> None:
        """On everything that is ready, after a round among the launchers."""
        self._rounds.go()
        if not self.queue.depth:
            return
        self._workers.start(1)
        self._workers.join(REAL_SECONDS)
        assert not [it for event, it in self.said if event == "bug"], self.said
        assert not self._workers.are_alive

    def calm_down(self) -> None:
        """Until it has heard of everything, and has done what follows from it."""
        self.eyes.settle()
        while self.queue.depth or self._rounds.queue.depth:
            self.work()
            self.eyes.settle()

    def _listen(self) -> None:
        self.watches.jobs.store.listen(self._ends.follow)
        self.watches.pods.store.listen(self._ends.hear)
        self.watches.pods.store.listen(self._hear)
        self.watches.pods.store.listen(self._heartbeats.follow)
        assert self.watches.nodes
        self.watches.nodes.store.listen(self._outage.follow)
        self.watches.wake(self.queue.add)

    @property
    def is_able(self) -> bool:
        """Whether it knows everything, leads, and may interrupt a job."""
        return self.eyes.are_in_step and self._lease.is_leader and self._allowance.left > 0

    def reset(self) -> None:
        """The next step begins."""
        self.queue.taken = self._rounds.queue.taken = 0

    def _hear(self, _: Pod | None, new: Pod | None) -> None:
        if new:
            self.met.add(new.uid)
        if new and new.phase == "Failed":
            self.heard.add(new.uid)

    def _make_reconciler(self) -> Reconciler:
        world = World(
            jobs=self.watches.jobs.store, pods=self.watches.pods.store,
            nodes=self.watches.nodes.store if self.watches.nodes else None, ends=self._ends, now=self._now,
            fleet=self._fleet, beat=self._heartbeats.beats.get, earlier=self._heartbeats.earlier.get, silence=self._heartbeats.scraper.silence, sample=lambda _: None, limits=LIMITS,
        )  # fmt: skip
        actor = Actor(self._cluster, lambda: self._lease.is_leader, lambda: None, clock=lambda: self._clock.now)
        return Reconciler(
            world, self._cluster, actor, allowance=self._allowance, metrics=self._metrics, say=self._say
        )  # fmt: skip

    def _fleet(self) -> Fleet:
        return Fleet(
            is_blind=self._heartbeats.are_most_silent, is_cut_off=self._outage.is_wide, may_act=self._allowance.left > 0
        )

    def _make_heartbeats(self, chance: Random) -> Heartbeats:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(heartbeats, "Scraper", partial(Rounds, self._clock, chance))
            made = Heartbeats(
                self.watches.pods.store, now=self._now, wake=self.queue.add, metrics=self._metrics, say=self._say,
                window=LIMITS.straggler,
            )  # fmt: skip
        assert isinstance(made.scraper, Rounds)
        self._rounds = made.scraper
        return made

    def _make_lease(self) -> Lease:
        return Lease(
            self._cluster, "default", "ktrain-controller", f"at-{self._clock.now}", clock=lambda: self._clock.now,
            wall=lambda: datetime.fromtimestamp(self._clock.now, UTC), pause=lambda _: None, on_start=self._lead,
        )  # fmt: skip

    def _lead(self) -> None:
        for job in self.watches.jobs.store.all():
            self.queue.add(job.key)

    def _now(self) -> float:
        """As the server told it."""
        found = self._cluster.server_time
        return self._clock.wall() if found is None else found

    def _say(self, event: str, **fields: Any) -> None:
        self.said.append((event, fields))
