"""Thousands of faults in a row, by a seed: what the controller does is compared with what really happened.

The parts are the real ones, over real connections; time is the test's, and each step ends when nothing is under way.
"""

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from random import Random
from typing import Any, Final

import pytest

from ktrain.errors import ClusterError
from ktrain_controller import budget, tell
from ktrain_controller.act import Actor
from ktrain_controller.beat import Beat
from ktrain_controller.decide import decide
from ktrain_controller.ends import Ends
from ktrain_controller.incidents import new_incidents
from ktrain_controller.lease import Lease
from ktrain_controller.limit import Allowance
from ktrain_controller.metrics import Metrics
from ktrain_controller.observation import Fleet, Limits
from ktrain_controller.project import JOB_NAME
from ktrain_controller.queue import WorkQueue
from ktrain_controller.reading import read
from ktrain_controller.reconcile import Reconciler
from ktrain_controller.state import Incident, State
from ktrain_controller.watch import Reflector
from ktrain_controller.watches import Watches
from ktrain_controller.workers import Workers
from ktrain_controller.world import World
from tests.controller import seen
from tests.controller.fake_objects import Object, RefusedError
from tests.controller.operator import NAMESPACE, Ledger, Operator, Write, state_of, until
from tests.controller.seen import NOW

SEEDS: Final = (2, 5, 9, 19, 45)
"""Each has failed once. A hundred steps take a second; timing between threads differs a little from run to run."""

LONG_SEEDS: Final = (1, 8, 12, 13, 18, 24, 25, 28, 35, 52)
LABELS: Final = {"app.kubernetes.io/managed-by": "ktrain"}
RESTART: Final = {"max": 3, "window": "20m", "backoff": {"base": "2s", "cap": "10s"}}
NODES: Final = ("node-0", "node-1", "node-2")
STEP_SECONDS: Final = (0.2, 1, 1, 3, 3, 10, 70)
REAL_SECONDS: Final = 10  # for what takes milliseconds
MAX_LOOKS: Final = 100  # in one step
MAX_REQUESTS: Final = 60
ALONE_SECONDS: Final = 65  # other ends are farther away than what counts as one incident
REMEMBERED_SECONDS: Final = 200
UNSETTLED_SECONDS: Final = 1000  # after a clock was set back, what was before is still to come


class Clock:
    """Goes when it is told to; its wall can be set, the other one cannot."""

    def __init__(self) -> None:
        self.now = 1_900_000_000.0
        self.skew = 0.0
        self.changed = threading.Condition()

    def wall(self) -> float:
        return self.now + self.skew

    def advance(self, seconds: float) -> None:
        with self.changed:
            self.now += seconds
            self.changed.notify_all()


class Nap:
    """A reflector's rest, in the test's time."""

    def __init__(self, clock: Clock, stop: threading.Event) -> None:
        self._clock, self._stop = clock, stop
        self._until = float("-inf")

    def __call__(self, seconds: float) -> bool:
        with self._clock.changed:
            self._until = self._clock.now + seconds
            self._clock.changed.wait_for(lambda: self._stop.is_set() or not self.is_on)
        return self._stop.is_set()

    @property
    def is_on(self) -> bool:
        return self._clock.now < self._until


class Queue(WorkQueue):
    """Its workers go home when there is nothing to do now."""

    def __init__(self, clock: Callable[[], float], chance: Callable[[], float]) -> None:
        super().__init__(clock=clock, chance=chance)
        self.taken = 0

    def take(self) -> str | None:
        self.taken += 1
        assert self.taken < MAX_LOOKS, "the same jobs are looked at without end"
        return super().take() if self.depth else None


class Brain:
    """One controller, put together as `Controller` does it, but without a thread that acts by itself."""

    def __init__(self, api: Ledger, folder: Path, clock: Clock, chance: Random, commits: dict[str, int]) -> None:
        self._api, self._clock, self._commits = api, clock, commits
        self.said: list[tuple[str, dict[str, Any]]] = []
        self._known: defaultdict[str, dict[str, str]] = defaultdict(dict)  # kind → name → version
        self._stop, self._lease_due = threading.Event(), 0.0
        self._cluster = api.connect(folder)
        self.queue, self._metrics = Queue(lambda: clock.now, chance.random), Metrics()
        self.watches = Watches.of(self._cluster, "", self._metrics, self._say, has_nodes=True)
        self._naps: list[tuple[Reflector[Any], Nap]] = []
        self._threads: list[threading.Thread] = []
        self._ends = Ends(self._now)
        self.heard: set[str] = set()  # uids of pods that were seen to have failed
        self._allowance = Allowance(60, clock=lambda: clock.now)
        self._lease = self._make_lease()
        self._workers = Workers(
            self.queue, self._make_reconciler().look, may_act=lambda: self._lease.is_leader and self.watches.are_synced,
            metrics=self._metrics, say=self._say,
        )  # fmt: skip
        self._start(chance)

    def close(self) -> None:
        self._stop.set()
        self._clock.advance(0)
        for thread in self._threads:
            until("its watch ends", partial(self._is_gone, thread))
        self._api.give_lease("")

    def _is_gone(self, thread: threading.Thread) -> bool:
        self._api.drop_watches()  # one that was about to begin notices nothing before its first line
        return not thread.is_alive()

    def ask_the_time(self) -> None:
        """The client counts on from the server's last answer by a clock that stands still here."""
        with suppress(ClusterError):
            self._cluster.raw("/version")

    def lead(self) -> None:
        """Renews its lease when that is due."""
        if self._clock.now >= self._lease_due:
            self._lease_due = self._clock.now + self._lease.attempt()

    def work(self) -> None:
        """On everything that is ready."""
        self._workers.start(1)
        self._workers.join(REAL_SECONDS)
        assert not [it for event, it in self.said if event == "bug"], self.said
        assert not self._workers.are_alive

    def settle(self) -> None:
        """Until all that listen to a store know what the server has, or its reflector rests."""
        deadline = time.monotonic() + REAL_SECONDS
        while not all(nap.is_on or self.is_in_step(it) for it, nap in self._naps):
            assert time.monotonic() < deadline, [it.kind.plural for it, nap in self._naps if not self.is_in_step(it)]
            time.sleep(0.0003)

    def is_in_step(self, it: Reflector[Any]) -> bool:
        plural = it.kind.plural
        wanted = {} if plural == "nodes" else LABELS
        with self._api.objects.changed:
            there = {each.key[1]: str(each.version) for each in self._api.objects.all(plural, selector=wanted)}
        return (
            self._known[plural] == there and self._api.watching(plural) >= 1
        )  # the server does not notice who has left

    def _start(self, chance: Random) -> None:
        self.watches.pods.store.listen(self._ends.hear)
        self.watches.pods.store.listen(
            lambda _, new: self.heard.add(new.uid) if new and new.phase == "Failed" else None
        )
        self.watches.wake(self.queue.add)
        for it in self.watches.all:
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

    def _make_reconciler(self) -> Reconciler:
        world = World(
            jobs=self.watches.jobs.store, pods=self.watches.pods.store,
            nodes=self.watches.nodes.store if self.watches.nodes else None, ends=self._ends, now=self._now,
            fleet=lambda: Fleet(may_act=self._allowance.left > 0), beat=self._beat, earlier=lambda _: None,
            silent_since=lambda _: None, sample=lambda _: None, limits=Limits(start=100_000),
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
        """As the server told it: its real time between two answers is nothing here."""
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


@dataclass(slots=True)
class Truth:
    """What really happened to one job."""

    is_calm: bool  # nothing that it would have to answer for
    charges: dict[int, tuple[str, float]] = field(default_factory=dict)  # its failures: second → the pod's uid, when
    ends: list[int] = field(default_factory=list)  # all, of whatever kind
    charged: set[float] = field(default_factory=set)  # what the controller has counted so far
    state: State = field(default_factory=State)  # newest that was written
    attempt: int = 1


class Trace:
    """The cluster, its faults, and the memory of them."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.chance, self.clock, self.folder = Random(seed), Clock(), folder
        self.api = Ledger(self.clock.wall)
        self.operator = Operator(self.api)
        self.truths: dict[str, Truth] = {}
        self.broken: set[str] = set()  # nodes that have ever been lost
        self.commits: dict[str, int] = {}
        self.troubles: list[float] = []  # when the clock was set, or the controller was started
        self.heard: set[str] = set()  # uids of pods that a controller saw to have failed
        self.submitted = self.checked = 0

    def open(self) -> None:
        self.api.open()
        self.operator.add_nodes(*NODES)
        for is_calm in (True, False, True, False):
            self.submit(is_calm=is_calm)
        self.brain = Brain(self.api, self.folder, self.clock, self.chance, self.commits)
        self.brain.settle()

    def close(self) -> None:
        self.brain.close()
        self.api.close()

    def submit(self, *, is_calm: bool) -> None:
        self.submitted += 1
        name = f"job-{self.submitted}"
        self.operator.submit(name, restart=RESTART, ttl="4000d")  # a verdict's time is this machine's
        self.truths[name] = Truth(is_calm)

    def step(self) -> None:
        self.clock.advance(self.chance.choice(STEP_SECONDS))
        self.brain.ask_the_time()
        before, self.brain.queue.taken = len(self.api.requests), 0
        is_late = self.chance.random() < 0.2  # the watches: everything below is decided by what was
        with self.api.together() if is_late else nullcontext():
            if self.chance.random() < 0.6:
                self.chance.choice(FAULTS)(self)
            self.operator.step()
            self.brain.lead()
            self.brain.work()
        self.calm_down()
        self.note()
        assert len(self.api.requests) - before < MAX_REQUESTS, self.api.requests[before:]
        self.replace_ended()

    def calm_down(self) -> None:
        self.brain.settle()
        while self.brain.queue.depth:
            self.brain.work()
            self.brain.settle()

    def note(self) -> None:
        """Looks at what was written since, and at what is."""
        self.heard |= self.brain.heard
        for write in self.api.writes[self.checked :]:
            self.check(write)
        self.checked = len(self.api.writes)

    def echo(self, write: Write) -> None:
        """Who is left of a gang that the controller takes a pod from may lose its peers by that."""
        for pod in self.up(self.api.pods(write.job["metadata"]["name"]) if write.job else []):
            if pod["metadata"]["uid"] != write.uid and self.chance.random() < 0.3:
                self.end(pod, 200, is_charged=False)

    def replace_ended(self) -> None:
        for job in self.api.all("pytorchjobs"):
            if has_failed(job) and self.chance.random() < 0.2:
                name = job["metadata"]["name"]
                self.api.remove("pytorchjobs", NAMESPACE, name)
                self.submit(is_calm=self.truths.pop(name).is_calm)

    # -- what has to hold ----------------------------------------------------------------------------------------------
    def check(self, write: Write) -> None:
        name = write.job["metadata"]["name"] if write.job else ""
        if write.plural == "pods" and write.method == "DELETE":
            intent = write.state.intent
            assert intent, f"pod {write.name} was deleted, and nobody had decided it"
            assert write.uid in intent.uids, f"pod {write.name} was deleted, and the decision is about {intent}"
            self.echo(write)
        if write.plural == "pytorchjobs" and name in self.truths:
            self.check_job(write, name, self.truths[name])

    def check_job(self, write: Write, name: str, truth: Truth) -> None:
        state, new = write.state, write.attempt - truth.attempt
        assert new in {0, 1}, f"{name}: attempt {truth.attempt} became {write.attempt}"
        assert state.decisions != truth.state.decisions or write.sub == "status", f"{name}: no decision for {write}"
        self.check_charges(name, truth, {it.at for it in state.incidents if it.is_charged})
        if new and state.decisions[-1].reason == "NodeLost":
            assert state.intent
            # When the clock is set, pods that were told to go seem to be stuck.
            places = {self.operator.places[uid] for uid in set(state.intent.uids) - self.operator.told}
            assert places <= self.broken, f"{name}: {state.intent}"
        elif new:
            assert len([it for it in state.incidents if it.is_charged]) >= 2, f"{name}: {state}"
        if new:
            truth.ends.append(int(self.clock.wall()))
        truth.state, truth.attempt = state, write.attempt

    def check_charges(self, name: str, truth: Truth, charged: set[float]) -> None:
        known = {it.at for it in truth.state.incidents if it.is_charged}
        assert not (charged - known) & truth.charged, f"{name}: counted twice: {(charged - known) & truth.charged}"
        assert charged <= set(truth.charges), f"{name} never failed at {charged - set(truth.charges)}: {truth}"
        truth.charged |= charged

    def finish(self) -> None:
        """The faults stop: everything comes right, and everything that has to be known is known."""
        self.api.faults.refusals.clear()
        self.api.faults.scramble, self.api.faults.list_seconds = None, 0
        self.operator.add_nodes(*NODES)
        self.go_on([5] * 20)
        for name, truth in self.truths.items():
            assert not self.untold(name), f"{name}: {self.untold(name)} of {truth.state.decisions}"
            missing = [at for at in truth.charges if self.is_plain(at, truth)]
            assert set(missing) <= truth.charged, f"{name}: {missing} were not counted: {truth}"
        self.go_on([60] * 40)  # a pause that began before the clock was set back takes longer
        assert all(self.brain.is_in_step(it) for it in self.brain.watches.all)
        for job in self.api.all("pytorchjobs"):
            self.check_end(job, self.truths[job["metadata"]["name"]])

    def go_on(self, waits: list[float]) -> None:
        for seconds in waits:
            self.clock.advance(seconds)
            self.brain.ask_the_time()
            self.brain.queue.taken = 0
            self.operator.step()
            self.brain.lead()
            self.calm_down()
            self.note()

    def is_plain(self, at: int, truth: Truth) -> bool:
        """A failure that nothing else could explain, and that the controller has seen: it has to be counted."""
        uid, now = truth.charges[at]
        is_alone = sum(abs(at - other) <= ALONE_SECONDS for other in truth.ends) == 1
        is_calm = not any(now - UNSETTLED_SECONDS < trouble < now + REMEMBERED_SECONDS for trouble in self.troubles)
        return uid in self.heard and is_alone and is_calm

    def check_end(self, job: Object, truth: Truth) -> None:
        name, state = job["metadata"]["name"], state_of(job)
        policy = read(next(it for it in self.brain.watches.jobs.store.all() if it.name == name)).policy
        assert policy
        if not has_failed(job):
            phases = [it["status"]["phase"] for it in self.api.pods(name)]
            assert phases == ["Running"] * 2, f"{name}: {phases} {state}"
            assert not budget.is_spent(state.incidents, policy.restart, self.clock.wall()), f"{name}: {state}"
        assert not (truth.is_calm and has_failed(job)), f"{name} has done nothing, and was given up: {truth}"

    def untold(self, name: str) -> set[str]:
        (job,) = (it for it in self.brain.watches.jobs.store.all() if it.name == name)
        told = {it["metadata"]["name"] for it in self.api.all("events")}
        late = self.clock.wall() - 500
        return {tell.event_name(job, it) for it in read(job).state.decisions if it.at > late} - told

    # -- faults --------------------------------------------------------------------------------------------------------
    def victims(self, *, is_calm: bool | None = None) -> list[Object]:
        """Some job's, so that two of them are peers."""
        jobs = [name for name, truth in self.truths.items() if is_calm in {None, truth.is_calm}]
        up = self.up(self.api.pods(self.chance.choice(jobs)))
        self.chance.shuffle(up)
        return up

    def up(self, pods: list[Object]) -> list[Object]:
        """Those that run, on nodes that are well."""
        nodes = self.api.all("nodes")
        well = {it["metadata"]["name"] for it in nodes if it["status"]["conditions"][0]["status"] == "True"}
        up = [it for it in pods if it["status"]["phase"] == "Running" and "deletionTimestamp" not in it["metadata"]]
        return [it for it in up if it["spec"]["nodeName"] in well]

    def end(self, pod: Object, code: int, *, is_charged: bool) -> None:
        truth = self.truths[pod["metadata"]["labels"][JOB_NAME]]
        at = int(self.clock.wall())
        truth.ends.append(at)
        if is_charged:
            truth.charges[at] = (pod["metadata"]["uid"], self.clock.now)
        self.operator.fail(pod["metadata"]["name"], code)

    def crash(self) -> None:
        for pod in self.victims(is_calm=False)[:1]:
            self.end(pod, self.chance.choice((137, 139, 200, 202)), is_charged=True)

    def crash_together(self) -> None:
        pods = self.victims(is_calm=False)
        for pod, code in zip(pods, (139, 200), strict=False):
            self.end(pod, code, is_charged=code == 139 or len(pods) == 1)

    def preempt(self) -> None:
        for pod, code in zip(self.victims(), (143, 200), strict=False):
            self.end(pod, code, is_charged=False)

    def drain(self) -> None:
        pods = self.victims()
        for pod in pods[:1]:
            self.truths[pod["metadata"]["labels"][JOB_NAME]].ends.append(int(self.clock.wall()))
            self.operator.delete(pod["metadata"]["name"])
        for pod in pods[1:]:
            self.end(pod, 200, is_charged=False)

    def end_for_good(self) -> None:
        for pod in self.victims(is_calm=False)[:1]:
            self.end(pod, 70, is_charged=False)

    def commit(self) -> None:
        for name in self.truths:
            key = f"{NAMESPACE}/{name}"
            self.commits[key] = self.commits.get(key, -1) + self.chance.choice((0, 1))

    def lose_node(self) -> None:
        name = self.chance.choice(NODES[1:])
        self.broken.add(name)
        self.operator.set_node(name, is_ready=False)

    def mend_node(self) -> None:
        self.operator.add_nodes(*NODES)

    def announce(self) -> None:
        self.operator.set_node(NODES[0], is_ready=True, taints=self.chance.choice((["ktrain.dev/leaving"], [])))

    def drop_watches(self) -> None:
        self.api.drop_watches(is_clean=self.chance.random() < 0.5)

    def expire(self) -> None:
        self.api.drop_watches()
        with suppress(RefusedError):  # a watch is about to hear that it has expired
            self.api.forget()

    def refuse(self) -> None:
        code, after = self.chance.choice(((429, "2"), (429, None), (500, None), (503, "1")))
        self.api.refuse(self.chance.randint(1, 6), code, after)

    def truncate(self) -> None:
        self.api.faults.truncate = self.chance.choice(("clean", "abrupt"))

    def scramble(self) -> None:
        self.api.faults.scramble = None if self.api.faults.scramble else Random(self.chance.random())

    def slow_down(self) -> None:
        self.api.faults.list_seconds = 0.003 - self.api.faults.list_seconds

    def restart_server(self) -> None:
        self.api.restart()

    def set_clock(self) -> None:
        self.clock.skew += self.chance.choice((-600, 600))
        self.troubles.append(self.clock.now)

    def restart_controller(self) -> None:
        """A new process knows nothing of ends that it did not see: first what has ended is cleaned up."""
        self.operator.step()
        self.operator.step()
        self.brain.close()
        self.brain = Brain(self.api, self.folder, self.clock, self.chance, self.commits)
        self.troubles.append(self.clock.now)


FAULTS: Final[list[Callable[[Trace], None]]] = [
    *[Trace.crash] * 4, Trace.crash_together, *[Trace.preempt] * 3, *[Trace.drain] * 3, Trace.end_for_good,
    *[Trace.commit] * 3, Trace.lose_node, *[Trace.mend_node] * 2, Trace.announce,
    Trace.drop_watches, Trace.drop_watches, Trace.expire, Trace.refuse, Trace.refuse, Trace.truncate, Trace.scramble,
    Trace.slow_down, Trace.restart_server, Trace.set_clock, Trace.restart_controller,
]  # fmt: skip


def has_failed(job: Object) -> bool:
    return any(it["type"] == "Failed" and it["status"] == "True" for it in job.get("status", {}).get("conditions", ()))


@pytest.fixture
def trace(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Trace]:
    trace = Trace(tmp_path, request.param)
    trace.open()
    yield trace
    trace.close()


@pytest.mark.parametrize("trace", SEEDS, indirect=True)
def test_a_hundred_faults(trace: Trace) -> None:
    for _ in range(100):
        trace.step()
    trace.finish()


@pytest.mark.slow
@pytest.mark.parametrize("trace", LONG_SEEDS, indirect=True)
def test_a_thousand_faults(trace: Trace) -> None:
    for _ in range(1000):
        trace.step()
    trace.finish()


# -- what traces have found, each by itself ----------------------------------------------------------------------------
def test_a_failure_is_not_counted_again_after_a_commit_gave_the_budget_back() -> None:
    old, new = seen.failed(0, at=NOW - 100, created=NOW - 900), seen.failed(1, at=NOW - 1, created=NOW - 90)
    before = State(incidents=(Incident(NOW - 100, is_charged=True, what="boom"),), commit=80)
    first = decide(seen.seen(ends=(old, new), state=before)).decision
    assert first
    assert [it.is_charged for it in first.state.incidents] == [False, True]
    assert decide(seen.seen(ends=(old, new), state=first.state, now=NOW + 3)).decision is None


def test_a_pod_that_went_by_an_earlier_incident_explains_what_its_new_peer_says() -> None:
    crashed, taken = seen.failed(0, at=NOW - 30), seen.pod(1, deleted=NOW - 20, deleting=NOW + 10)
    echo = seen.failed(0, 200, at=NOW - 20, created=NOW - 25, uid="successor")
    known = (Incident(NOW - 30, is_charged=True, what="boom"),)
    assert new_incidents((crashed, taken, echo), known, NOW) == ()


def test_a_pod_explains_the_loss_of_it_until_it_is_gone() -> None:
    taken, echo = seen.pod(1, deleted=NOW - 100, deleting=NOW - 10), seen.failed(0, 200, at=NOW - 9)
    assert [it.is_charged for it in new_incidents((taken, echo), (), NOW)] == [False]


def test_two_ends_after_the_clock_was_set_back_are_one_incident() -> None:
    ends = (seen.failed(0, at=NOW - 9, created=NOW + 500), seen.failed(1, at=NOW - 8, created=NOW + 500))
    assert len(new_incidents(ends, (), NOW)) == 1


def test_a_pod_that_was_replaced_unseen_has_ended_before_its_successor_was_made() -> None:
    ends = Ends(lambda: NOW)
    ends.hear(seen.pod(1), seen.pod(1, uid="successor", created=NOW - 50))
    assert [(it.uid, it.deleted) for it in ends.of("research/demo")] == [("pod-1", NOW - 50)]


def test_a_failure_that_is_cleaned_up_late_is_not_news() -> None:
    ends = Ends(lambda: NOW)
    ends.hear(seen.failed(0, at=NOW - 9000), None)
    assert ends.of("research/demo") == ()


def test_a_pod_that_was_taken_away_is_remembered_for_longer_than_the_ends_that_it_explains() -> None:
    clock = Clock()
    ends = Ends(lambda: clock.now)
    ends.hear(seen.pod(1), seen.pod(1, deleted=clock.now, deleting=clock.now + 40))
    clock.advance(60)
    ends.hear(seen.pod(0), seen.failed(0, 200, at=clock.now))
    clock.advance(179)
    assert [it.uid for it in ends.of("research/demo")] == ["pod-1", "pod-0"]
