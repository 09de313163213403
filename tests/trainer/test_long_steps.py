"""Steps longer than the grace period."""

import signal

import pytest

from ktrain_trainer.long_steps import LongSteps
from ktrain_trainer.stop import StopFlag


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def told(at: float | None) -> StopFlag:
    stop = StopFlag()
    stop.since = at
    return stop


def steps(stop: StopFlag, *, grace: float | None = 10.0, saves: float = 1.0) -> tuple[LongSteps, list[bool]]:
    asked: list[bool] = []

    def agree(ok: bool) -> bool:
        asked.append(ok)
        return ok

    return LongSteps(grace, stop, agree=agree, save_seconds=lambda: saves, clock=Clock()), asked


@pytest.mark.parametrize(
    ("grace", "seconds", "vote"),
    [(10.0, 5.0, 0.0), (10.0, 5.1, 1.0), (None, 1e9, 0.0)],
    ids=["short", "long", "unknown"],
)
def test_a_rank_tells_that_its_steps_are_long(grace: float | None, seconds: float, vote: float) -> None:
    made, _ = steps(told(None), grace=grace)
    made.ended(seconds, votes=0.0)
    assert made.vote == vote


def test_nobody_is_asked_while_steps_are_short() -> None:
    made, asked = steps(told(95.0))
    made.ended(4.0, votes=0.0)
    assert not made.is_given_up(left=1.0)
    assert asked == []


@pytest.mark.parametrize(
    ("since", "left", "given_up"),
    [(None, 1.0, False), (98.0, 1.0, True), (98.0, 0.5, False), (98.0, 0.8, True), (91.0, 0.01, True)],
    ids=["not told", "the whole step", "half of it", "no time to save", "the last moment"],
)  # fmt: skip
def test_a_step_that_will_not_end_in_time_is_given_up(since: float | None, left: float, given_up: bool) -> None:
    made, asked = steps(told(since))
    made.ended(9.0, votes=1.0)
    assert made.is_given_up(left=left) is given_up
    assert asked == [not given_up]


def test_all_ranks_do_what_one_of_them_needs() -> None:
    made = LongSteps(10.0, told(None), agree=lambda _: False, save_seconds=lambda: 0.0)
    made.ended(1.0, votes=1.0)  # this rank's are not even long
    assert made.is_given_up(left=1.0)


def test_the_time_is_that_of_the_first_signal() -> None:
    stop = StopFlag()
    before = stop.is_set
    with stop.listening():
        signal.raise_signal(signal.SIGTERM)
        first = stop.since
        signal.raise_signal(signal.SIGINT)
    assert (before, stop.is_set, stop.since) == (False, True, first)
