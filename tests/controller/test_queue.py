"""The queue gives each key to one worker at a time, when it is due, and never forgets one."""

import threading
import time
from collections import Counter
from collections.abc import Callable

import pytest

from ktrain_controller.queue import LAST_DELAY, LONGEST_WAIT, WorkQueue


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def queue(clock: Clock) -> WorkQueue:
    return WorkQueue(clock=clock, chance=lambda: 1.0)


def in_thread(work: Callable[[], object]) -> threading.Thread:
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def wait_until_waiting(queue: WorkQueue, count: int) -> None:
    ends = time.monotonic() + 5
    while len(queue._changed._waiters) < count and time.monotonic() < ends:  # type: ignore[attr-defined]
        time.sleep(0.001)


def test_a_key_that_was_added_twice_is_taken_once(queue: WorkQueue) -> None:
    for key in ("a", "b", "a", "c"):
        queue.add(key)
    assert [queue.take(), queue.take(), queue.take()] == ["a", "b", "c"]
    assert queue.depth == 0


def test_a_key_that_is_worked_on_goes_to_nobody_else_and_comes_again_afterwards(queue: WorkQueue) -> None:
    queue.add("a")
    assert queue.take() == "a"
    queue.add("a")
    queue.add("b")
    assert queue.take() == "b"
    queue.done("a")
    assert queue.take() == "a"


def test_a_key_that_was_not_added_meanwhile_does_not_come_again(queue: WorkQueue) -> None:
    queue.add("a")
    assert queue.take() == "a"
    queue.done("a")
    assert queue.depth == 0


def test_a_delayed_key_comes_when_it_is_due(queue: WorkQueue, clock: Clock) -> None:
    queue.add_after("a", 5)
    clock.now += 4.9
    assert queue.depth == 0
    clock.now += 0.1
    assert queue.take() == "a"


def test_the_earlier_of_two_wishes_wins(queue: WorkQueue, clock: Clock) -> None:
    queue.add_after("late", 5)
    queue.add_after("late", 50)
    queue.add_after("soon", 50)
    queue.add_after("soon", 5)
    clock.now += 5
    assert {queue.take(), queue.take()} == {"late", "soon"}
    queue.done("late")
    queue.done("soon")
    clock.now += 1000
    assert queue.depth == 0


def test_now_cancels_later(queue: WorkQueue, clock: Clock) -> None:
    queue.add_after("a", 5)
    queue.add("a")
    assert queue.take() == "a"
    queue.done("a")
    clock.now += 1000
    assert queue.depth == 0


@pytest.mark.parametrize("seconds", [1e12, float("inf")])
def test_what_is_decades_away_comes_in_a_day_and_ends_no_worker(seconds: float) -> None:
    """No lock can wait for so long."""
    clock = Clock()
    queue, taken = WorkQueue(clock=clock), list[str | None]()
    queue.add_after("a", seconds)
    worker = in_thread(lambda: taken.append(queue.take()))
    wait_until_waiting(queue, 1)
    clock.now += LONGEST_WAIT
    queue.add("b")
    worker.join(5)
    assert (taken, queue.take()) == (["b"], "a")


def test_no_delay_is_now(queue: WorkQueue) -> None:
    queue.add_after("a", 0)
    assert queue.take() == "a"


def test_a_wish_of_the_worker_itself_holds_when_it_is_done(queue: WorkQueue, clock: Clock) -> None:
    queue.add("a")
    assert queue.take() == "a"
    queue.add_after("a", 5)
    clock.now += 5
    queue.add("b")
    assert queue.take() == "b"
    queue.done("a")
    assert queue.take() == "a"


def test_failures_wait_twice_as_long_each_time_up_to_a_limit(queue: WorkQueue, clock: Clock) -> None:
    delays = []
    for _ in range(25):
        queue.add_failed("a")
        delays.append(queue._heap[0][0] - clock.now)
        clock.now += LAST_DELAY
        assert queue.take() == "a"
        queue.done("a")
    assert delays[:3] == pytest.approx([0.005, 0.01, 0.02])
    assert delays[-1] == LAST_DELAY
    assert queue.retries == 25


def test_what_failed_together_does_not_come_back_together(clock: Clock) -> None:
    chances = iter((0.0, 1.0))
    queue = WorkQueue(clock=clock, chance=lambda: next(chances))
    queue.add_failed("a")
    queue.add_failed("b")
    clock.now += 0.003
    assert queue.depth == 1


def test_a_success_forgets_the_failures(queue: WorkQueue, clock: Clock) -> None:
    for _ in range(10):
        queue.add_failed("a")
        clock.now += LAST_DELAY
        queue.take()
        queue.done("a")
    queue.forget("a")
    queue.add_failed("a")
    clock.now += 0.006
    assert queue.take() == "a"


def test_waiting_is_measured_from_when_the_key_was_ready(clock: Clock) -> None:
    waits: list[float] = []
    queue = WorkQueue(clock=clock, on_taken=waits.append)
    queue.add("now")
    queue.add_after("later", 2)
    clock.now += 5
    assert queue.longest_wait == 5
    assert [queue.take(), queue.take()] == ["now", "later"]
    assert waits == [5, 3]
    assert queue.longest_wait == 0


def test_a_worker_that_waits_is_woken_by_a_key() -> None:
    queue, taken = WorkQueue(clock=time.monotonic), []
    worker = in_thread(lambda: taken.append(queue.take()))
    queue.add("a")
    worker.join(5)
    assert taken == ["a"]


def test_a_worker_that_waits_for_a_late_key_is_woken_for_an_earlier_one() -> None:
    queue, taken = WorkQueue(clock=time.monotonic), []
    queue.add_after("late", 60)
    workers = [in_thread(lambda: taken.append(queue.take())) for _ in range(3)]
    queue.add_after("a", 0.02)
    queue.add_after("b", 0.01)
    queue.add_after("c", 0.03)
    for worker in workers:
        worker.join(5)
    assert taken == ["b", "a", "c"]


def test_a_late_key_is_not_missed_when_its_watcher_took_another() -> None:
    queue, taken = WorkQueue(clock=time.monotonic), []
    queue.add_after("late", 0.3)
    workers = []
    for count in (1, 2):
        workers.append(in_thread(lambda: taken.append(queue.take())))
        wait_until_waiting(queue, count)
    queue.add("now")
    for worker in workers:
        worker.join(5)
    assert taken == ["now", "late"]


def test_closing_sends_all_workers_home_and_gives_nothing_more() -> None:
    queue, taken = WorkQueue(clock=time.monotonic), []
    queue.add_after("late", 60)
    workers = [in_thread(lambda: taken.append(queue.take())) for _ in range(3)]
    queue.close()
    for worker in workers:
        worker.join(5)
    queue.add("a")
    assert taken == [None, None, None]
    assert queue.take() is None


def test_many_workers_lose_no_key_and_never_share_one() -> None:
    queue, busy, seen, shared = WorkQueue(clock=time.monotonic), set[str](), Counter[str](), list[str]()
    left = threading.Semaphore(0)

    def work() -> None:
        while (key := queue.take()) is not None:
            shared.extend({key} & busy)
            busy.add(key)
            seen[key] += 1
            busy.discard(key)
            queue.done(key)
            left.release()

    workers = [in_thread(work) for _ in range(8)]
    for number in range(2000):
        queue.add_after(f"k{number}", 0.05 * (number % 7) / 7)
    for _ in range(2000):
        assert left.acquire(timeout=10)
    queue.close()
    for worker in workers:
        worker.join(5)
    assert len(seen) == 2000
    assert shared == []


def test_ten_thousand_delayed_keys_are_cheap_and_leave_nothing_behind(queue: WorkQueue, clock: Clock) -> None:
    began = time.process_time()
    for _ in range(5):
        for number in range(10_000):
            queue.add_after(f"k{number}", 900 + number / 1000)
            queue.add(f"k{number}")
            key = queue.take()
            assert key is not None
            queue.done(key)
            queue.add_after(key, 1000)
    assert time.process_time() - began < 10
    assert len(queue._heap) < 40_000
    clock.now += 2000
    assert queue.depth == 10_000
