"""Which rank the others wait for, by what lies between two beats."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ktrain_controller.beat import Beat, RankPace
from ktrain_controller.pace import FEW_STEPS, earlier, is_window, stragglers, usual, works
from tests.controller.seen import NOW, beat, paced

SECONDS = 60.0


def slow_ones(*busy: float, **fields: Any) -> list[int]:
    found = works(paced(100, *busy, **fields), paced(200, *busy, **fields))
    return [it.rank for it in stragglers(found)]


# -- who is one --------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("busy", "ranks"),
    [
        ((0.1, 0.2), [1]),
        ((0.2, 0.1), [0]),
        ((0.1, 0.1, 0.1, 0.31), [3]),
        ((0.1, 0.19, 0.1, 0.4, 0.1), [3]),
        ((0.1, 0.1, 0.3, 0.3), [2, 3]),
        ((0.3, 0.1, 0.1, 0.4), [3, 0]),
        ((0.1, 0.149), []),
        ((0.2, 0.2, 0.2), []),
        ((0.001, 0.0055), []),
        ((0.0, 0.3), [1]),
    ],
    ids=["the other", "rank 0", "one", "much slower", "a pod", "two", "a little", "none", "microseconds", "idle"],
)  # fmt: skip
def test_whoever_works_much_longer_than_the_median_is_a_straggler(busy: tuple[float, ...], ranks: list[int]) -> None:
    assert slow_ones(*busy) == ranks


def test_of_two_halves_the_quicker_one_is_usual() -> None:
    assert usual(works(paced(100, 0.1, 0.1, 0.4, 0.4), paced(200, 0.1, 0.1, 0.4, 0.4))) == pytest.approx(0.1)


def with_waiting(steps: int, seconds: float) -> Beat:
    """Both ranks wait for so long in each step, for the network or for their own devices."""
    made = paced(steps, 0.01, 0.03)
    return replace(
        made,
        pace=tuple(
            replace(
                it,
                step_seconds=it.step_seconds + steps * seconds,
                peer_wait_seconds=it.peer_wait_seconds + steps * seconds,
            )
            for it in made.pace
        ),
    )


@pytest.mark.parametrize(("seconds", "count"), [(0.01, 1), (0.2, 0)], ids=["felt", "hidden"])
def test_a_host_that_is_slow_beside_a_slower_device_keeps_nobody_waiting(seconds: float, count: int) -> None:
    assert len(stragglers(works(with_waiting(100, seconds), with_waiting(200, seconds)))) == count


def test_the_past_before_the_window_does_not_count() -> None:
    old = paced(100, 0.5, 0.1)  # rank 0 took long in the beginning
    pace = tuple(replace(it, steps=200, step_seconds=it.step_seconds + 10.0) for it in old.pace)
    assert stragglers(works(old, replace(old, pace=pace))) == ()


def test_what_it_waits_for_is_told_apart() -> None:
    (slow,) = stragglers(works(paced(100, 0.1, 0.4, data=0.75), paced(150, 0.1, 0.4, data=0.75)))
    assert [slow.busy, slow.data, slow.idle] == pytest.approx([0.4, 0.3, 0.0])


SUMS = st.floats(-1, 2**53)
PACES = st.builds(RankPace, st.integers(0, 1), st.integers(0, 3), st.floats(0, 1000), SUMS, SUMS, SUMS)


@settings(max_examples=300, deadline=None)
@given(st.tuples(PACES, PACES), st.tuples(PACES, PACES))
def test_no_sums_make_nonsense(before: tuple[RankPace, ...], after: tuple[RankPace, ...]) -> None:
    old = tuple(replace(it, rank=rank) for rank, it in enumerate(before))
    new = tuple(replace(it, rank=rank, steps=it.steps + 1e3 + FEW_STEPS) for rank, it in enumerate(after))
    for each in stragglers(works(beat(pace=old), beat(pace=new))):
        assert each.busy > 0
        assert 0 <= each.data <= each.busy
        assert each.idle >= 0


# -- windows -----------------------------------------------------------------------------------------------------------
OLD = paced(100, 0.1, 0.2, heard_at=NOW)
NEW = paced(160, 0.1, 0.2, heard_at=NOW + SECONDS)


def test_a_window_is_long_enough_and_has_enough_steps() -> None:
    assert is_window(OLD, NEW, SECONDS)
    assert not is_window(OLD, NEW, SECONDS + 1)
    assert not is_window(OLD, paced(100 + FEW_STEPS - 1, 0.1, 0.2, heard_at=NOW + SECONDS), SECONDS)


@pytest.mark.parametrize(
    "new",
    [
        replace(NEW, epoch=2), replace(NEW, attempt=2), paced(160, 0.1, 0.2, 0.1, heard_at=NEW.heard_at),
        replace(NEW, pace=NEW.pace[:1]), replace(NEW, pace=()), replace(NEW, pace=(NEW.pace[0], replace(NEW.pace[1], rank=7))),
        replace(NEW, pace=(NEW.pace[0], OLD.pace[1])),
    ],
    ids=["epoch", "attempt", "size", "one is missing", "all are", "another rank", "one has told nothing new"],
)  # fmt: skip
def test_only_the_same_ranks_are_compared(new: Beat) -> None:
    assert not is_window(OLD, new, SECONDS)


def test_one_rank_alone_waits_for_nobody() -> None:
    assert not is_window(paced(100, 0.1, heard_at=NOW), paced(200, 0.1, heard_at=NOW + SECONDS), SECONDS)


def follow(beats: list[Beat]) -> list[float | None]:
    """For each beat, how old the one is that it is compared with."""
    ages: list[float | None] = []
    known: Beat | None = None
    for last, new in zip([None, *beats], beats, strict=False):
        known = earlier(known, last, new, SECONDS)
        ages.append(None if known is None else new.heard_at - known.heard_at)
    return ages


def test_windows_follow_one_another() -> None:
    beats = [paced(100 + 10 * tick, 0.1, 0.2, heard_at=NOW + 10.0 * tick) for tick in range(14)]
    assert follow(beats) == [0, 10, 20, 30, 40, 50, 60, 10, 20, 30, 40, 50, 60, 10]


def test_where_steps_are_slow_windows_are_long() -> None:
    beats = [paced(100 + tick, 1.0, 2.0, heard_at=NOW + 10.0 * tick) for tick in range(22)]
    assert follow(beats) == [10.0 * tick for tick in range(21)] + [10.0]


def test_the_first_steps_are_not_compared() -> None:
    beats = [paced(10 * tick, 0.1, 0.2, heard_at=NOW + 10.0 * tick) for tick in range(4)]
    assert follow(beats) == [None, None, 0, 10]


def test_a_new_epoch_begins_anew() -> None:
    later = replace(paced(200, 0.1, 0.2, heard_at=NOW + 70.0), epoch=2)
    assert follow([OLD, NEW, later, replace(later, heard_at=NOW + 80.0)]) == [0, 60, 0, 10]
    assert follow([OLD, NEW, replace(NEW, pace=())]) == [0, 60, None]


def test_what_is_kept_is_small() -> None:
    kept = earlier(None, None, OLD, SECONDS)
    assert kept is not None
    assert (kept.ranks, kept.pace) == ((), OLD.pace)
