"""How long the next epoch waits, and when there is none, from what earlier ones say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ktrain.history import Token
from ktrain.spec.platform import Restart
from ktrain_launcher.parking import Past, decide

NOW = 100_000.0
RESTART = Restart.model_validate({"max": 3, "window": "1h", "backoff": {"base": "10s", "cap": "15s"}})


def failed(epoch: int, ago: float = 0, message: str = "rank 3 exited with 139") -> Past:
    """It ended so many seconds ago."""
    return Past(Token(1, epoch), NOW - ago - 5, NOW - ago, is_counted=True, rank=3, message=message)


def silent(epoch: int, began: float) -> Past:
    """It began so many seconds ago, and never told its end."""
    return Past(Token(1, epoch), NOW - began)


def free(epoch: int) -> Past:
    """Preempted, or asked to stop."""
    return Past(Token(1, epoch), NOW - 5, NOW, is_counted=False)


def given_up(epoch: int, ago: float) -> Past:
    return Past(Token(1, epoch), NOW - ago, NOW - ago, is_last=True)


@pytest.mark.parametrize(
    ("past", "commit", "failures", "seconds"),
    [
        pytest.param([], None, 0, 0, id="nothing happened yet"),
        pytest.param([failed(1)], None, 1, 0, id="the first failure comes alone, mostly"),
        pytest.param([failed(1), failed(2)], None, 2, 10, id="the second waits"),
        pytest.param([failed(1), failed(2), failed(3)], None, 3, 15, id="and longer, up to the cap"),
        pytest.param([failed(1, 9), failed(2, 4)], None, 2, 6, id="time already spent counts"),
        pytest.param([failed(1, 99), failed(2, 60)], None, 2, 0, id="all of it was spent"),
        pytest.param([failed(1), failed(2, -999)], None, 2, 10, id="a clock ahead of ours"),
        pytest.param([failed(2), failed(1), free(3), free(4)], None, 2, 10, id="what was asked for is free, in any order"),
        pytest.param([failed(1), failed(2), failed(3)], 1, 2, 10, id="before or in the epoch of the commit"),
        pytest.param([failed(1), failed(2), failed(3)], 3, 0, 0, id="all before the commit"),
        pytest.param([failed(1, 3601), failed(2, 3599), failed(3)], None, 2, 10, id="out of the window"),
        pytest.param([silent(1, 50), silent(2, 20)], None, 2, 2, id="over when the next began, or we did"),
        pytest.param([silent(1, 50), silent(2, 20)], 2, 0, 0, id="silent, but it had committed"),
        pytest.param([silent(1, 9000), silent(2, 4000), failed(3, 9)], None, 2, 1, id="silent, and over before the window"),
        pytest.param([failed(1, 90), failed(2, 80), given_up(3, 70), failed(3, 9)], None, 1, 0, id="submitted again"),
    ],
)  # fmt: skip
def test_failures_since_the_commit_and_in_the_window_make_it_wait(
    past: list[Past], commit: int | None, failures: int, seconds: float
) -> None:
    parking = decide(past, commit=Token(1, commit) if commit else None, restart=RESTART, born=NOW - 8, now=NOW)
    assert (parking.failures, parking.seconds, parking.sentence) == (failures, seconds, "")


def test_more_failures_than_allowed_are_the_end() -> None:
    past = [failed(epoch, 50 - epoch) for epoch in range(1, 5)]
    parking = decide(past, commit=None, restart=RESTART, born=NOW, now=NOW)
    assert (parking.failures, parking.rank) == (4, 3)
    assert parking.sentence == (
        "gave up after 4 failures in 1h without a newer checkpoint; the last one: rank 3 exited with 139"
    )


def test_an_end_without_a_word_is_told_as_what_it_usually_is() -> None:
    never = RESTART.model_copy(update={"max": 0})
    parking = decide([silent(1, 9)], commit=None, restart=never, born=NOW, now=NOW)
    assert parking.sentence == (
        "gave up after 1 failure in 1h without a newer checkpoint; the last one: epoch a0001-e0001 ended without a word: "
        "its launcher was killed (usually out of memory), or its node was lost"
    )


def test_a_long_message_is_cut() -> None:
    never = RESTART.model_copy(update={"max": 0})
    parking = decide([failed(1, message="x" * 100_000)], commit=None, restart=never, born=NOW, now=NOW)
    assert len(parking.sentence) < 1000


def pasts(times: st.SearchStrategy[float]) -> st.SearchStrategy[list[Past]]:
    ends = st.sampled_from([False] * 9 + [True])
    one = st.builds(Past, TOKENS, times, ended=st.none() | times, is_counted=st.booleans(), is_last=ends)
    return st.lists(one, max_size=12)


TOKENS = st.builds(Token, st.integers(1, 2), st.integers(1, 9))
SO_FAR = st.floats(0, NOW)
TIMES = st.floats(0, 2 * NOW)  # of clocks that differ


@given(pasts(TIMES), TOKENS, TOKENS, TIMES, st.integers(0, 5))
def test_a_newer_commit_never_makes_it_stricter(
    past: list[Past], one: Token, other: Token, born: float, most: int
) -> None:
    restart = RESTART.model_copy(update={"max": most})
    older, newer = (decide(past, commit=commit, restart=restart, born=born, now=NOW) for commit in sorted([one, other]))
    assert newer.failures <= older.failures
    assert bool(newer.sentence) <= bool(older.sentence)
    assert older.sentence or newer.seconds <= older.seconds


@given(pasts(TIMES), TIMES)
def test_a_pause_is_never_longer_than_its_cap(past: list[Past], born: float) -> None:
    parking = decide(past, commit=None, restart=RESTART, born=born, now=NOW)
    assert 0 <= parking.seconds <= 15
    assert bool(parking.sentence) == (parking.failures > 3)


@given(pasts(SO_FAR), SO_FAR)
def test_waiting_as_long_as_asked_is_enough(past: list[Past], born: float) -> None:
    parking = decide(past, commit=None, restart=RESTART, born=born, now=NOW)
    later = decide(past, commit=None, restart=RESTART, born=born, now=NOW + parking.seconds)
    assert later.seconds == pytest.approx(0, abs=1e-6)
