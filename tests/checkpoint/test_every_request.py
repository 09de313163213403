"""A fault at every call of every rank, before it is applied or after: the newest commit is what the next epoch finds."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from typing import Final, Literal, TypeVar

import pytest

from ktrain.errors import Conflict, KtrainError, StorageError
from ktrain.storage.memory import MemoryStorage
from tests.checkpoint.gangs import Gang, begin_run, check_next_epoch, check_no_orphans, check_whole
from tests.checkpoint.scripted import Call, KilledError, Life, ScriptedStorage

pytestmark = pytest.mark.usefixtures("quiet_deaths")
T = TypeVar("T")
Kind = Literal["refused", "outage", "race", "all killed", "one killed", "late"]
KINDS: Final[tuple[Kind, ...]] = ("refused", "outage", "race", "all killed", "one killed", "late")
RANKS: Final = 2
_SECONDS: Final = 60


@dataclass(frozen=True, slots=True)
class Case:
    """Where it strikes, and how."""

    kind: Kind
    is_after: bool
    rank: int
    call: Call

    def __str__(self) -> str:
        return f"{self.kind} {'after' if self.is_after else 'before'} {self.call} of rank {self.rank}"


@dataclass
class Strike:
    """The script of the rank that it strikes."""

    case: Case
    lives: list[Life]
    has_hit: threading.Event = field(default_factory=threading.Event)
    release: threading.Event = field(default_factory=threading.Event)

    def __call__(self, call: Call, act: Callable[[], T]) -> T:
        if self.has_hit.is_set():
            if self.case.kind == "outage":
                raise StorageError("the storage is down")
            return act()
        if call != self.case.call:
            return act()
        self.has_hit.set()
        if not self.case.is_after:
            self._fall()
            return act()
        answer = act()
        self._fall()
        return answer

    def _fall(self) -> None:
        match self.case.kind:
            case "refused" | "outage":
                raise StorageError("as the test wants it")
            case "race":
                raise Conflict("as the test wants it")
            case "all killed":
                for life in self.lives:
                    life.end()
                raise KilledError
            case "one killed":
                self.lives[self.case.rank].end()
                raise KilledError
            case "late":
                assert self.release.wait(_SECONDS)


class Watch:
    """Sees after each change of the storage that HEAD names whole commits."""

    def __init__(self, storage: MemoryStorage) -> None:
        self._storage = storage
        self.problems: list[str] = []

    def __call__(self, call: Call, act: Callable[[], T]) -> T:
        answer = act()
        if call.is_write:
            try:
                check_whole(self._storage)
            except KtrainError as error:
                self.problems.append(f"after {call}: {error}")
        return answer


class Run:
    """A run with a commit, and a gang of which one rank is struck."""

    def __init__(self, case: Case | None) -> None:
        self.plain = MemoryStorage()
        begin_run(self.plain, RANKS)
        self.watch = Watch(self.plain)
        self.watched = ScriptedStorage(self.plain, self.watch)
        self.lives = [Life() for _ in range(RANKS)]
        self.storages = [ScriptedStorage(self.watched, life=life) for life in self.lives]
        if case:
            self.strike = Strike(case, self.lives)
            self.storages[case.rank] = ScriptedStorage(self.watched, self.strike, life=self.lives[case.rank])
        self.gang = Gang(self.storages, lives=self.lives)

    def live(self) -> int:
        """The gang's whole life, a save after a failed one included; returns the newest step that anybody was promised."""
        if not self.gang.claim().is_ok:
            return 0
        found = self.gang.restore()
        if not all(it.is_ok for it in found):
            assert not any(it.is_ok for it in found), found  # all together or none
            assert set(self.gang.marks()) == {(0, 0)}, "a restore that failed has changed something"
            return 0
        step = found[0].value.step
        said = [self.gang.save(step + more) for more in (1, 2)]
        return max((it.value.step for each in said for it in each if it.is_ok), default=0)

    def check(self, acknowledged: int) -> None:
        """Two more epochs, and then nothing is left but what HEAD names."""
        saved = check_next_epoch([self.watched] * RANKS, self.plain, acknowledged=acknowledged) + 1
        check_next_epoch([self.watched] * RANKS, self.plain, acknowledged=saved)
        check_no_orphans(self.plain)
        assert self.watch.problems == []


@cache
def recorded() -> tuple[tuple[Call, ...], ...]:
    """All calls of each rank, where nothing happens: claim, restore, two saves with their tidying."""
    run = Run(None)
    assert run.live() == 3
    run.gang.close()
    return tuple(tuple(storage.calls) for storage in run.storages)


def cases(kind: Kind, *, is_after: bool) -> list[Case]:
    """The kind at every call of every rank."""
    return [Case(kind, is_after, rank, call) for rank, calls in enumerate(recorded()) for call in calls]


def test_what_a_save_asks_of_storage_is_known() -> None:
    """A call of a new role would be struck too, but nobody would have thought about what it is for."""
    first, other = ({(call.verb, call.role) for call in calls} for calls in recorded())
    assert first == {
        ("get", "head"), ("replace", "head"), ("stat", "manifest"), ("get", "manifest"), ("read", "data"), ("create", "data"),
        ("create", "manifest"), ("delete_folder", "delete"), ("delete", "delete"), ("folders", "list"),
        ("list", "list"),
    }  # fmt: skip
    assert other == {("stat", "manifest"), ("get", "manifest"), ("read", "data"), ("create", "data")}


@pytest.mark.parametrize("is_after", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("kind", ["refused", *(pytest.param(kind, marks=pytest.mark.slow) for kind in KINDS[1:])])
def test_a_fault_at_any_call_loses_nothing(kind: Kind, is_after: bool) -> None:
    struck = set()
    for case in cases(kind, is_after=is_after):
        run = Run(case)
        try:
            act_out(run, case)
        except AssertionError as error:
            raise AssertionError(f"{case}: {error}") from error
        finally:
            run.gang.end()
            run.gang.close()
        struck.add((case.rank, case.call))
    assert struck == {(rank, call) for rank, calls in enumerate(recorded()) for call in calls}


def act_out(run: Run, case: Case) -> None:
    """The gang's life, and the epochs after it; those that it hangs in or dies alone in begin while it still is there."""
    if case.kind not in {"one killed", "late"}:
        acknowledged = run.live()
        assert run.strike.has_hit.is_set()
        run.check(acknowledged)
        return
    with ThreadPoolExecutor(1) as pool:
        life = pool.submit(run.live)
        try:
            assert run.strike.has_hit.wait(_SECONDS)
            saved = check_next_epoch([run.watched] * RANKS, run.plain, acknowledged=0) + 1
        finally:
            if case.kind == "one killed":
                run.gang.end()  # what its launcher does to the others
            run.strike.release.set()
        run.check(max(life.result(_SECONDS), saved))
