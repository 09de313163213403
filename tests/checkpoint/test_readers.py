"""What is being read stays, whatever retention says; and readers that are gone hold nothing back for ever."""

from collections.abc import Callable
from dataclasses import replace
from typing import TypeVar

import pytest

from ktrain.checkpoints.prune import plan, prune
from ktrain.checkpoints.readers import MOST_SECONDS, in_use, reading
from ktrain.checkpoints.retention import Retention
from ktrain.history import Commit, Head, claim_epoch, read_head
from ktrain.names import DIR_READERS
from ktrain.storage import Storage
from ktrain.storage.memory import MemoryStorage
from ktrain_trainer.checkpoint import Checkpointer, World, init_from
from tests.checkpoint.models import build, digests, train
from tests.checkpoint.work import SMALL
from tests.faults import FaultyStorage, WatchedStorage, refuse

T = TypeVar("T")


class Writer:
    """Saves one step after the other and keeps only the newest."""

    def __init__(self, storage: Storage) -> None:
        token = claim_epoch(storage, attempt=1)
        self._saver = Checkpointer(storage, token, World(), run="run", retention=Retention(1), options=SMALL)
        self.model, self._made = build("plain")
        self._step = 0

    def save(self) -> None:
        train(self.model, self._made, range(self._step, self._step + 1))
        self._step += 1
        self._saver.save(self._step, self.model, self._made, {}).result(30)
        self._saver.close()


class Busy(WatchedStorage):
    """While somebody reads its first object, the writer makes three commits."""

    def __init__(self, storage: Storage, writer: Writer) -> None:
        super().__init__(storage)
        self._writer, self._is_begun = writer, False

    def _do(self, verb: str, key: str, act: Callable[[], T]) -> T:
        if verb == "read" and not self._is_begun:
            self._is_begun = True
            for _ in range(3):
                self._writer.save()
        return act()


def everything(head: Head | None) -> tuple[Commit, ...]:
    return head.commits if head else ()


def steps(storage: Storage) -> list[int]:
    head = read_head(storage)
    return [it.step for it in head.commits] if head else []


def test_a_run_that_saves_faster_than_somebody_reads_it_does_not_take_the_checkpoint_away() -> None:
    storage = MemoryStorage()
    writer = Writer(storage)
    writer.save()
    before = digests(writer.model, None)
    model, _ = build("plain", start=99.0)
    commit = init_from(model, "any", world=World(), opener=lambda _: Busy(storage, writer))
    assert commit.step == 1
    assert digests(model, None) == before
    assert steps(storage) == [1, 4]
    assert not list(storage.list(f"{DIR_READERS}/"))
    writer.save()
    assert steps(storage) == [5]
    assert not [it for it in storage.list() if "step-000000001" in it.key]


def test_without_the_mark_it_would_be_gone() -> None:
    """The reader may not write: it is not seen, and says so by falling."""
    storage = MemoryStorage()
    writer = Writer(storage)
    writer.save()
    unseen = FaultyStorage(Busy(storage, writer), refuse, only="put ")
    model, _ = build("plain", start=99.0)
    with pytest.raises(Exception, match=r"is missing"):
        init_from(model, "any", world=World(), opener=lambda _: unseen)


def test_a_reader_that_was_killed_counts_for_an_hour() -> None:
    storage = MemoryStorage()
    Writer(storage).save()
    with reading(storage, everything, clock=lambda: 1000.0):
        (manifest,) = in_use(storage, clock=lambda: 1000.0 + MOST_SECONDS)
        assert manifest.endswith("/manifest.json")
        assert in_use(storage, clock=lambda: 1002.0 + MOST_SECONDS) == frozenset()
        assert not list(storage.list(f"{DIR_READERS}/"))


def test_marks_of_others_are_no_marks() -> None:
    storage = MemoryStorage()
    storage.put(f"{DIR_READERS}/strange", b"")
    storage.put(f"{DIR_READERS}/very-strange/m", b"")
    assert in_use(storage) == frozenset()


def test_where_storage_does_not_tell_who_reads_everything_stays() -> None:
    storage = MemoryStorage()
    writer = Writer(storage)
    writer.save()
    writer._saver._storage = FaultyStorage(storage, refuse, only=f"list {DIR_READERS}", for_ever=False)
    writer.save()
    assert steps(storage) == [1, 2]
    writer.save()
    assert steps(storage) == [3]


def test_what_went_while_the_mark_was_made_is_left_out() -> None:
    storage = MemoryStorage()
    writer = Writer(storage)
    writer.save()

    def choose(head: Head | None) -> tuple[Commit, ...]:
        found = everything(head)
        writer.save()
        return found

    with reading(storage, choose) as commits:
        assert commits == []


def test_prune_leaves_alone_what_is_being_read() -> None:
    storage = MemoryStorage()
    writer = Writer(storage)
    writer._saver._retention = Retention(9)
    for _ in range(3):
        writer.save()
    head = read_head(storage)
    assert head is not None
    with reading(storage, lambda found: found.commits[:1] if found else ()):
        prune(storage, plan(storage, head, Retention(1)))
    assert steps(storage) == [1, 3]
    head = read_head(storage)
    assert head is not None
    prune(storage, plan(storage, replace(head), Retention(1)))
    assert steps(storage) == [3]
