"""One controller, put together as `Controller` does it, but without a thread that acts by itself."""

from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any, Final

from ktrain_controller import lease
from ktrain_controller.act import Actor
from ktrain_controller.beat import Beat
from ktrain_controller.ends import Ends
from ktrain_controller.lease import Lease
from ktrain_controller.limit import Allowance
from ktrain_controller.metrics import Metrics
from ktrain_controller.model import Pod
from ktrain_controller.observation import Fleet, Limits
from ktrain_controller.reconcile import Reconciler
from ktrain_controller.watches import Watches
from ktrain_controller.workers import Workers
from ktrain_controller.world import World
from tests.controller.trace.clock import Clock
from tests.controller.trace.eyes import REAL_SECONDS, Eyes
from tests.controller.trace.queue import Queue
from tests.controller.trace.server import Server
from tests.controller.trace.wires import Wires

MAX_TRIES: Final = 8  # to lead, in one step


class Brain:
    """It acts when it is told to: `lead`, then `work`."""

    def __init__(self, api: Server, folder: Path, clock: Clock, chance: Random, commits: dict[str, int]) -> None:
        self._api, self._clock, self._commits = api, clock, commits
        self.said: list[tuple[str, dict[str, Any]]] = []
        self._lease_due = 0.0
        self._cluster = api.connect_as(Wires, folder)
        self._cluster.clock = clock
        self.queue, self._metrics = Queue(lambda: clock.now, chance.random), Metrics()
        self.watches = Watches.of(self._cluster, "", self._metrics, self._say, has_nodes=True)
        self._ends = Ends(self._now, lambda: clock.now)
        self.heard: set[str] = set()  # uids of pods that were seen to have failed
        self._allowance = Allowance(60, clock=lambda: clock.now)
        self._lease = self._make_lease()
        self._workers = Workers(
            self.queue, self._make_reconciler().look, may_act=lambda: self._lease.is_leader and self.watches.are_synced,
            metrics=self._metrics, say=self._say,
        )  # fmt: skip
        self._listen()
        self.eyes = Eyes(api, self._cluster, self.watches, api.slowness, clock=clock, chance=chance)

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
        """On everything that is ready."""
        self._workers.start(1)
        self._workers.join(REAL_SECONDS)
        assert not [it for event, it in self.said if event == "bug"], self.said
        assert not self._workers.are_alive

    def calm_down(self) -> None:
        """Until it has heard of everything, and has done what follows from it."""
        self.eyes.settle()
        while self.queue.depth:
            self.work()
            self.eyes.settle()

    def _listen(self) -> None:
        self.watches.pods.store.listen(self._ends.hear)
        self.watches.pods.store.listen(self._hear)
        self.watches.wake(self.queue.add)

    def _hear(self, _: Pod | None, new: Pod | None) -> None:
        if new and new.phase == "Failed":
            self.heard.add(new.uid)

    def _make_reconciler(self) -> Reconciler:
        world = World(
            jobs=self.watches.jobs.store, pods=self.watches.pods.store,
            nodes=self.watches.nodes.store if self.watches.nodes else None, ends=self._ends, now=self._now,
            fleet=lambda: Fleet(may_act=self._allowance.left > 0), beat=self._beat, silent_since=lambda _: None,
            sample=lambda _: None, limits=Limits(start=100_000),
        )  # fmt: skip
        actor = Actor(self._cluster, lambda: self._lease.is_leader, lambda: None, clock=lambda: self._clock.now)
        return Reconciler(
            world, self._cluster, actor, allowance=self._allowance, metrics=self._metrics, say=self._say
        )  # fmt: skip

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

    def _beat(self, key: str) -> Beat:
        now = self._now()
        return Beat(
            heard_at=now, state="running", epoch=1, attempt=1, restarts=0, step=1, phase="train", last_step_at=now,
            hang_limit=600, checkpoint_step=self._commits.get(key, -1), checkpoint_at=now - 60, world_size=2,
        )  # fmt: skip

    def _say(self, event: str, **fields: Any) -> None:
        self.said.append((event, fields))
