"""What node 0's launcher counts of the job's time, told by a clock and snapshots that the test sets."""

from dataclasses import replace

import pytest

from ktrain.goodput import PRODUCTIVE, Account, Pending, newest
from ktrain.goodput.keep import key_of
from ktrain.names import Exit
from ktrain.snapshot import Phase, Snapshot
from ktrain.storage.memory import MemoryStorage
from ktrain_launcher.ledger import Keeper, Ledger, carried_on


def say(_event: str, **_fields: object) -> None:
    """Nobody listens."""


class World:
    """A launcher that has begun at second 10, and its rank 0."""

    def __init__(self, *, tells: bool = True) -> None:
        self.now = 10.0
        self.chief: Snapshot | None = None
        self.ledger = Ledger(Account(0, 10, {"queue": 10.0}), lambda: self.chief, tells=tells, now=lambda: self.now)

    def go(self, seconds: float) -> None:
        self.now += seconds

    def start(self) -> None:
        """Two seconds until all have met, one until the rank speaks."""
        self.ledger.meet()
        self.go(2)
        self.ledger.begin()
        self.go(1)
        self.chief = Snapshot(0, 0, 1, 1, began_at=self.now, phase_seconds={"start": 0.0})

    def spend(self, phase: Phase, seconds: float, **fields: object) -> None:
        """Rank 0 does this for so long, and says so."""
        assert self.chief
        self.go(seconds)
        spent = dict(self.chief.phase_seconds)
        spent[phase] = spent.get(phase, 0.0) + seconds
        self.chief = replace(self.chief, phase=phase, phase_seconds=spent, **fields)  # type: ignore[arg-type]

    @property
    def seconds(self) -> dict[str, float]:
        """All that is not nothing; the parts always make up the whole."""
        account = self.ledger.account()
        assert sum(account.seconds.values()) + account.pending.seconds == pytest.approx(account.wall)
        assert account.until == self.now
        return {name: round(it, 6) for name, it in account.seconds.items() if it > 1e-9}

    @property
    def pending(self) -> float:
        return self.ledger.account().pending.seconds


def test_an_epoch_from_its_start_to_its_commit() -> None:
    world = World()
    world.go(4)
    assert world.seconds == {"queue": 10, "start": 4}
    world.start()
    world.spend("start", 5)
    world.spend("restore", 1)
    world.spend("train", 20, step=20, data_wait_seconds=3.0)
    assert world.seconds == {"queue": 10, "rendezvous": 2, "start": 10, "restore": 1, "data": 3}
    assert world.pending == pytest.approx(17)
    world.spend("eval", 6)
    world.spend("checkpoint", 2, checkpoint_step=20, committed_seconds=17.0)
    world.spend("train", 5, step=25)
    world.go(0.4)  # no word since
    assert world.seconds == {
        "queue": 10, "rendezvous": 2, "start": 10, "restore": 1, "data": 3, "eval": 6, "checkpoint": 2, PRODUCTIVE: 17
    }  # fmt: skip
    assert world.pending == pytest.approx(5.4)


def fail(world: World, code: int) -> None:
    """After 20 s of steps, of which a checkpoint holds 15, and 8 s of silence."""
    world.start()
    world.spend("train", 20, step=20, checkpoint_step=15, committed_seconds=15.0)
    world.go(8)
    world.ledger.end(code)


@pytest.mark.parametrize(("code", "reason"), [(Exit.HANG, "hang"), (Exit.PEER, "lost_work"), (139, "lost_work")])
def test_what_came_to_nothing_is_lost_when_the_gang_goes_on_without_it(code: int, reason: str) -> None:
    world = World()
    fail(world, code)
    assert world.seconds == {"queue": 10, "rendezvous": 2, "start": 1, PRODUCTIVE: 15, reason: 8}
    assert world.pending == pytest.approx(5)  # somebody may have committed it
    world.start()
    world.spend("restore", 1, restored_step=15)
    assert world.pending == pytest.approx(5)
    world.spend("train", 3, step=18)
    expected = {"queue": 10, "rendezvous": 4, "start": 2, "restore": 1, PRODUCTIVE: 15, "lost_work": 5}
    assert world.seconds == {**expected, reason: expected.get(reason, 0) + 8}
    assert world.pending == pytest.approx(3)


def test_a_change_of_the_gang_costs_scale() -> None:
    world = World()
    world.start()
    world.spend("train", 20, step=20, checkpoint_step=20, committed_seconds=20.0)
    world.spend("done", 1)
    world.ledger.end(Exit.MEMBERSHIP)
    world.go(3)
    world.start()
    assert world.seconds == {"queue": 10, "rendezvous": 2, "start": 3, PRODUCTIVE: 20, "scale": 5}


def test_the_end_makes_all_of_it_productive() -> None:
    world = World()
    world.start()
    world.spend("train", 20, step=20)  # of a job that keeps no checkpoints
    world.spend("done", 1)
    account = world.ledger.close(Exit.DONE)
    assert account.is_closed
    assert account.pending.seconds == 0
    assert account.seconds[PRODUCTIVE] == pytest.approx(20)
    assert sum(account.seconds.values()) == pytest.approx(account.wall)


def test_a_script_that_tells_nothing_counts_as_working() -> None:
    world = World(tells=False)
    world.ledger.meet()
    world.ledger.begin()
    world.go(30)
    assert world.pending == pytest.approx(30)
    assert world.ledger.close(Exit.DONE).seconds[PRODUCTIVE] == pytest.approx(30)


def test_counters_never_go_back() -> None:
    world = World()
    world.start()
    world.spend("eval", 5)
    world.go(2)  # it seems to evaluate still
    before = world.ledger.sums()["eval"]
    world.chief = replace(world.chief, phase="train", phase_seconds={"eval": 5.0, "train": 1.0})  # type: ignore[type-var]
    assert world.ledger.sums()["eval"] == before == pytest.approx(7)


def test_the_next_launcher_carries_on() -> None:
    """Its pod was bound at 60 and its image was there at 75."""
    run = MemoryStorage()
    last = Account(0, 50, {"queue": 10.0, PRODUCTIVE: 35.0}, Pending(5, 30, 35), is_closed=True)
    run.put(key_of(0, 10), last.encode())
    found = carried_on(run, submitted=0.0, bound=60, launched=75, say=say)
    assert found.seconds == {"queue": 20, PRODUCTIVE: 35, "pull": 15}
    assert (found.pending, found.until, found.is_closed) == (Pending(5, 30, 35), 75, False)
    other = carried_on(run, submitted=55.0, bound=60, launched=75, say=say)
    assert (other.begin, other.seconds) == (55, {"queue": 5, "pull": 15})


def test_it_is_written_down_at_the_end_and_when_a_checkpoint_is_there() -> None:
    run, world = MemoryStorage(), World()
    keeper = Keeper(world.ledger, run, lambda: world.chief, launched=10.0, say=say)
    world.start()
    world.spend("train", 20, step=20, checkpoint_step=20, committed_seconds=20.0)
    keeper.close(Exit.PREEMPTED)
    found = newest(run, 0.0)
    assert found
    assert found.is_closed
    assert found.seconds[PRODUCTIVE] == pytest.approx(20)
    world.go(3)  # others are waited for
    keeper.leave()
    last = newest(run, 0.0)
    assert last
    assert (last.until - found.until, last.is_closed) == (3, True)
