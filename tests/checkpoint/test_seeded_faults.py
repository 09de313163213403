"""Many short histories, each with several faults, late calls, zombies and rivals, all drawn from a seed: no wrong restore."""

import random
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final, TypeVar

import pytest

from ktrain.errors import Conflict, KtrainError, StorageError
from ktrain.storage.memory import MemoryStorage
from tests.checkpoint.gangs import Gang, check_next_epoch, check_no_orphans, check_whole
from tests.checkpoint.scripted import Call, KilledError, Life, ScriptedStorage

pytestmark = pytest.mark.usefixtures("quiet_deaths")
T = TypeVar("T")
RUNS: Final = 500
FAULTS: Final = ("refused", "refused after", "race", "outage", "late", "late after", "all killed", "one killed")
_FAULT_RATE: Final = 0.06
_LATENCY_SECONDS: Final = (0.0, 0.0, 0.0, 0.0005, 0.001, 0.003)
_SECONDS: Final = 60


@dataclass(frozen=True)
class Signs:
    """What a gang and the test tell each other."""

    quiet: threading.Event = field(default_factory=threading.Event)  # it is done, or hangs
    has_dead: threading.Event = field(default_factory=threading.Event)  # it hangs for good
    release: threading.Event = field(default_factory=threading.Event)  # late calls go on


@dataclass
class Trouble:
    """The script of one rank: what happens at a call follows from the seed and the call, whatever the order of threads."""

    seed: str
    rank: int
    lives: list[Life]
    signs: "Signs"
    met: list[str]
    is_down: bool = False

    def __call__(self, call: Call, act: Callable[[], T]) -> T:
        dice = random.Random(f"{self.seed} {self.rank} {call}")
        threading.Event().wait(dice.choice(_LATENCY_SECONDS))
        if self.is_down:
            raise StorageError("the storage is down")
        if dice.random() >= _FAULT_RATE:
            return act()
        fault = dice.choice(FAULTS)
        self.met.append(f"{fault} at {call} of rank {self.rank}")
        if fault.endswith(" after"):
            answer = act()
            self._fall(fault.removesuffix(" after"), call)
            return answer
        self._fall(fault, call)
        return act()

    def _fall(self, fault: str, call: Call) -> None:
        match fault:
            case "refused":
                raise StorageError("as the test wants it")
            case "outage":
                self.is_down = True
                raise StorageError("the storage is down")
            case "race" if call.verb in {"create", "replace"}:
                raise Conflict("as the test wants it")
            case "late":
                self.signs.quiet.set()
                assert self.signs.release.wait(_SECONDS)
            case "all killed":
                for life in self.lives:
                    life.end()
                raise KilledError
            case "one killed":
                self.signs.has_dead.set()
                self.signs.quiet.set()
                self.lives[self.rank].end()
                raise KilledError


@dataclass
class History:
    """One run's storage, and all gangs that ever wrote to it."""

    seed: int
    plain: MemoryStorage = field(default_factory=MemoryStorage)
    promised: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    met: list[str] = field(default_factory=list)
    _changing: threading.Lock = field(default_factory=threading.Lock)

    def watch(self, call: Call, act: Callable[[], T]) -> T:
        """Sees after each change that HEAD names whole commits."""
        if not call.is_write or call.verb == "delete_folder":  # its deletes come one by one
            return act()
        with self._changing:
            answer = act()
            try:
                check_whole(self.plain)
            except KtrainError as error:
                self.problems.append(f"after {call}: {error}")
            return answer

    def gang(self, number: int, dice: random.Random) -> "Writer":
        """A new epoch's ranks, each with troubles of its own."""
        lives = [Life() for _ in range(dice.randint(1, 3))]
        signs = Signs()
        storages = [
            ScriptedStorage(
                ScriptedStorage(self.plain, self.watch, one_at_a_time=False),
                Trouble(f"{self.seed} {number}", rank, lives, signs, self.met),
                life=life,
                one_at_a_time=False,
            )
            for rank, life in enumerate(lives)
        ]
        return Writer(self, Gang(storages, lives=lives, keep=dice.randint(1, 2)), signs, dice.randint(1, 3))


@dataclass
class Writer:
    """A gang and how it can be freed from where it hangs."""

    history: History
    gang: Gang
    signs: Signs
    saves: int

    def run(self) -> None:
        """Lives, and says that it is over."""
        try:
            self.live()
        finally:
            self.signs.quiet.set()

    def live(self) -> None:
        """Claims, restores, saves some steps; notes what it was promised, and what it was given wrongly."""
        if not self.gang.claim().is_ok:
            return
        found = self.gang.restore()
        for rank, it in enumerate(found):
            if not it.is_dead:
                self._check_mark(rank, it.value.commit if it.is_ok and it.value else None)
        if not all(it.is_ok for it in found):
            return
        step = found[0].value.step if found[0].value else 0
        for more in range(1, self.saves + 1):
            said = self.gang.save(step + more)
            self.history.promised += [it.value.step for it in said if it.is_ok]

    def leave(self, life: Future[None]) -> None:
        """Lets what was held go on to its end, as a zombie; where one is dead, the launcher ends the others."""
        self.signs.release.set()
        while not life.done() and not self.signs.has_dead.is_set():
            wait([life], timeout=0.01)
        self.gang.end()
        life.result(_SECONDS)

    def free(self) -> None:
        """Whatever happened, its threads end."""
        self.gang.end()
        self.signs.release.set()
        self.gang.close()

    def _check_mark(self, rank: int, commit: object) -> None:
        wanted = (getattr(commit, "epoch", 0), getattr(commit, "step", 0))
        try:
            found = self.gang.marks()[rank]
        except AssertionError as error:
            self.history.problems.append(f"rank {rank} restored a mixture: {error}")
            return
        if found != wanted:
            self.history.problems.append(f"rank {rank} restored {found} for {wanted}")


def play(seed: int) -> History:
    """Three to five epochs, some beginning while the one before still lives, some two at a time."""
    history, dice = History(seed), random.Random(seed)
    writers: list[Writer] = []
    with ThreadPoolExecutor(8) as pool, ExitStack() as stack:
        lives: list[Future[None]] = []
        for number in range(dice.randint(3, 5)):
            writer = history.gang(number, dice)
            stack.callback(writer.free)
            writers.append(writer)
            lives.append(pool.submit(writer.run))
            # Now and then a rival begins at some moment of its life.
            writer.signs.quiet.wait(_SECONDS if dice.random() < 0.7 else dice.random() * 0.02)
            if dice.random() < 0.3:
                dice.choice(writers).signs.release.set()
        for writer, life in zip(writers, lives, strict=True):
            writer.leave(life)
    return history


def check(history: History) -> None:
    """The newest commit comes back, nothing promised is lost, nothing is left over."""
    assert history.problems == []
    storages = [history.plain] * 2
    if (head := check_whole(history.plain)) is None or not head.commits:
        assert history.promised == []
        gang = Gang(storages)
        gang.claim()
        assert all(it.is_ok for it in gang.save(1))
        gang.close()
    saved = check_next_epoch(storages, history.plain, acknowledged=max(history.promised, default=0)) + 1
    check_next_epoch(storages, history.plain, acknowledged=saved)
    check_no_orphans(history.plain)


def check_seed(seed: int) -> History:
    history = play(seed)
    try:
        check(history)
    except (AssertionError, KtrainError) as error:
        raise AssertionError(f"seed {seed}, {'; '.join(history.met)}: {error}") from error
    return history


def test_some_histories_lose_nothing() -> None:
    for seed in range(40):
        check_seed(seed)


@pytest.mark.slow
@pytest.mark.parametrize("share", range(5))
def test_many_histories_lose_nothing(share: int) -> None:
    met = [each for seed in range(1000 + share, 1000 + RUNS, 5) for each in check_seed(seed).met]
    assert {it.partition(" at ")[0] for it in met} == set(FAULTS)
    assert len(met) > RUNS / 5, "hardly anything went wrong"
