"""Requests wait their turn, and interruptions are refused beyond their number."""

import threading

import pytest

from ktrain_controller.limit import Allowance, Limiter


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_burst_goes_at_once_and_the_rest_by_the_rate(clock: Clock) -> None:
    limiter = Limiter(rate=10, burst=3, clock=clock, sleep=clock.sleep)
    assert [limiter.wait() for _ in range(5)] == pytest.approx([0, 0, 0, 0.1, 0.1])


def test_an_idle_time_gives_back_no_more_than_the_burst(clock: Clock) -> None:
    limiter = Limiter(rate=10, burst=3, clock=clock, sleep=clock.sleep)
    for _ in range(3):
        limiter.wait()
    clock.now += 3600
    assert [limiter.wait() for _ in range(4)] == pytest.approx([0, 0, 0, 0.1])


def test_those_who_wait_together_go_one_after_the_other(clock: Clock) -> None:
    slept: list[float] = []
    limiter = Limiter(rate=10, burst=1, clock=clock, sleep=slept.append)
    threads = [threading.Thread(target=limiter.wait) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(slept) == pytest.approx([0.1, 0.2, 0.3])


def test_an_allowance_is_used_up_and_comes_back_one_by_one(clock: Clock) -> None:
    allowance = Allowance(2, clock=clock)
    assert allowance.take()
    clock.now += 30
    assert allowance.take()
    assert (allowance.take(), allowance.left) == (False, 0)
    clock.now += 30
    assert (allowance.left, allowance.take(), allowance.take()) == (1, True, False)


def test_no_window_of_a_minute_has_more_than_the_allowance(clock: Clock) -> None:
    allowance = Allowance(5, clock=clock)
    taken = []
    for _ in range(3000):
        clock.now += 0.1
        taken += [clock.now] if allowance.take() else []
    assert all(sum(at <= it < at + 60 for it in taken) <= 5 for at in taken)
    assert len(taken) == 25


def test_no_allowance_allows_nothing(clock: Clock) -> None:
    assert not Allowance(0, clock=clock).take()
