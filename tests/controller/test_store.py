"""The store: what an event may change, and who hears of it."""

import threading
from dataclasses import dataclass

import pytest

from ktrain_controller.project import Event
from ktrain_controller.store import MAX_GRAVES, Change, Store


@dataclass(frozen=True, slots=True)
class Thing:
    key: str
    version: str
    uid: str = "u"
    owner: str = "o"


@dataclass(frozen=True, slots=True)
class Nameless:
    """Without a uid, as the model's nodes are."""

    key: str
    version: str


def event(kind: str, item: Thing) -> Event[Thing]:
    return Event(kind, item.version, item)


def added(key: str, version: str, uid: str = "u") -> Event[Thing]:
    return event("ADDED", Thing(key, version, uid))


def deleted(key: str, version: str, uid: str = "u") -> Event[Thing]:
    return event("DELETED", Thing(key, version, uid))


def of(*things: Thing) -> Store[Thing]:
    store: Store[Thing] = Store(lambda it: it.owner)
    store.replace(things)
    return store


def test_a_list_says_what_came_what_changed_and_what_is_gone() -> None:
    same, old, gone = Thing("same", "1"), Thing("changed", "2"), Thing("gone", "3")
    store = of(same, old, gone)
    new, come = Thing("changed", "5"), Thing("come", "4")
    assert store.replace([same, new, come]) == [Change(gone, None), Change(old, new), Change(None, come)]
    assert set(store.all()) == {same, new, come}


def test_a_list_is_the_truth_even_when_its_versions_went_back() -> None:
    store = of(Thing("a", "100"), Thing("b", "100"))
    store.apply(deleted("b", "101"))
    store.replace([Thing("a", "7"), Thing("b", "6")])
    assert store.get("a") == Thing("a", "7")
    assert store.apply(added("a", "8"))
    assert store.apply(added("b", "9"))


@pytest.mark.parametrize(
    ("known", "said", "left"),
    [
        (Thing("a", "9"), added("a", "10"), Thing("a", "10")),
        (Thing("a", "9"), added("a", "9"), Thing("a", "9")),
        (Thing("a", "10"), added("a", "9"), Thing("a", "10")),
        (Thing("a", "10", "new"), added("a", "9", "old"), Thing("a", "10", "new")),
        (Thing("a", "x"), added("a", "b"), Thing("a", "b")),
        (Thing("a", "9"), deleted("a", "10"), None),
        (Thing("a", "9"), deleted("a", "9"), None),
        (Thing("a", "10"), deleted("a", "9"), None),
        (Thing("a", "10", "new"), deleted("a", "9", "old"), Thing("a", "10", "new")),
        (Thing("a", "9", "old"), deleted("a", "11", "new"), None),
    ],
    ids=[
        "newer as a number, not as text", "seen before", "older", "older, of the one before", "not comparable",
        "deletion", "deletion that repeats the version", "deletion is final for its uid",
        "deletion of the one before", "deletion of the one after",
    ],
)  # fmt: skip
def test_an_event_is_taken_only_when_it_is_news(known: Thing, said: Event[Thing], left: Thing | None) -> None:
    store = of(known)
    store.apply(said)
    assert store.get("a") == left


@pytest.mark.parametrize("late", [added("a", "4"), added("a", "5"), added("a", "6")], ids=["older", "same", "same uid"])
def test_the_dead_are_not_raised_by_late_words(late: Event[Thing]) -> None:
    store = of(Thing("a", "3"))
    store.apply(deleted("a", "5"))
    assert store.apply(late) is None
    assert store.get("a") is None


def test_a_deletion_that_overtakes_the_creation_is_remembered() -> None:
    store = of()
    assert store.apply(deleted("a", "5")) is None
    assert store.apply(added("a", "4")) is None


def test_a_name_can_be_used_again() -> None:
    store = of(Thing("a", "3", "old"))
    store.apply(deleted("a", "5", "old"))
    assert store.apply(added("a", "6", "new")) == Change(None, Thing("a", "6", "new"))


def test_the_graves_do_not_fill_the_memory() -> None:
    store = of()
    for number in range(MAX_GRAVES + 10):
        store.apply(deleted(f"a-{number}", "5"))
    assert store.apply(added("a-0", "4"))
    assert store.apply(added(f"a-{MAX_GRAVES}", "4")) is None


def test_objects_without_a_uid_are_told_apart_by_version_alone() -> None:
    store: Store[Nameless] = Store()
    store.replace([Nameless("n", "7")])
    assert store.apply(Event("DELETED", "6", Nameless("n", "6"))) is None
    assert store.apply(Event("DELETED", "8", Nameless("n", "8")))
    assert store.apply(Event("ADDED", "9", Nameless("n", "9")))


def test_the_index_follows_an_object_that_changes_its_owner() -> None:
    store = of(Thing("a", "1", owner="x"), Thing("b", "2", owner="x"))
    store.apply(event("MODIFIED", Thing("a", "3", owner="y")))
    assert [it.key for it in store.of("x")] == ["b"]
    assert [it.key for it in store.of("y")] == ["a"]
    store.replace([])
    assert store.of("x") == store.of("y") == ()
    assert len(store) == 0


def test_listeners_hear_of_changes_in_their_order_and_may_read() -> None:
    store = of(Thing("a", "1"))
    heard: list[tuple[Thing | None, Thing | None, int]] = []
    store.listen(lambda old, new: heard.append((old, new, len(store.all()))))
    store.apply(added("b", "2"))
    store.apply(added("b", "2"))
    store.apply(deleted("a", "3"))
    assert heard == [(None, Thing("b", "2"), 2), (Thing("a", "1"), None, 1)]


def test_a_listener_may_wait_for_a_thread_that_reads() -> None:
    store = of()
    found: list[Thing | None] = []

    def on_change(_old: Thing | None, _new: Thing | None) -> None:
        reader = threading.Thread(target=lambda: found.append(store.get("a")), daemon=True)
        reader.start()
        reader.join(5)

    store.listen(on_change)
    store.apply(added("a", "1"))
    assert found == [Thing("a", "1")]


def test_threads_see_whole_lists() -> None:
    """Read while another thread goes back and forth between two lists: never a part of one."""
    lists = [tuple(Thing(f"{name}-{number}", "1") for number in range(50)) for name in "xy"]
    store = of(*lists[0])
    writer = threading.Thread(target=lambda: [store.replace(lists[turn % 2]) for turn in range(300)])
    writer.start()
    seen = [frozenset(store.all()) for _ in iter(writer.is_alive, False)]
    writer.join()
    assert set(seen) <= {frozenset(each) for each in lists}
