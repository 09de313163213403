"""Thousands of faults in a row, by a seed: what the controller does is compared with what really happened.

The parts are the real ones, threads and all, down to the client library, whose sockets are calls; time is the test's, one
thread at a time goes on, and each step ends when nothing is under way: a seed that fails does so every time.
`trace/` has the world, its faults, and the models that say what has to follow.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Final

import pytest

from ktrain_controller.decide import decide
from ktrain_controller.ends import KEPT_SECONDS, Ends
from ktrain_controller.incidents import new_incidents
from ktrain_controller.state import Incident, State
from tests.controller import seen
from tests.controller.seen import NOW
from tests.controller.trace.clock import Clock
from tests.controller.trace.trace import Trace, digest
from tests.controller.trace.world import World

SEEDS: Final = (35, 95, 281, 318, 365)
"""Each was red once, as is every one below. A hundred steps take half a second."""

LONG_SEEDS: Final = (4, 12, 15, 16, 20, 21, 63, 64, 67, 70)


@pytest.fixture
def trace(request: pytest.FixtureRequest) -> Iterator[Trace]:
    world = World(request.param)
    world.open()
    yield Trace(world)
    world.close()


@pytest.mark.parametrize("trace", SEEDS, indirect=True)
def test_a_hundred_faults(trace: Trace) -> None:
    for _ in range(100):
        trace.step()
    trace.finish()


@pytest.mark.slow
@pytest.mark.parametrize("trace", LONG_SEEDS, indirect=True)
def test_a_thousand_faults(trace: Trace) -> None:
    for _ in range(1000):
        trace.step()
    trace.finish()


def test_a_seed_makes_the_same_trace_in_every_process() -> None:
    code = "from tests.controller.trace.trace import digest; print(digest(3, 60))"
    other = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "PYTHONHASHSEED": "1"}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert other.stdout.strip() == digest(3, 60)


# -- what traces have found, each by itself ----------------------------------------------------------------------------
def test_a_failure_is_not_counted_again_after_a_commit_gave_the_budget_back() -> None:
    old, new = seen.failed(0, at=NOW - 100, created=NOW - 900), seen.failed(1, at=NOW - 1, created=NOW - 90)
    before = State(incidents=(Incident(NOW - 100, is_charged=True, what="boom"),), commit=80)
    first = decide(seen.seen(ends=(old, new), state=before)).decision
    assert first
    assert [it.is_charged for it in first.state.incidents] == [False, True]
    assert decide(seen.seen(ends=(old, new), state=first.state, now=NOW + 3)).decision is None


def test_a_pod_that_went_by_an_earlier_incident_explains_what_its_new_peer_says() -> None:
    crashed, taken = seen.failed(0, at=NOW - 30), seen.pod(1, deleted=NOW - 20, deleting=NOW + 10)
    echo = seen.failed(0, 200, at=NOW - 20, created=NOW - 25, uid="successor")
    known = (Incident(NOW - 30, is_charged=True, what="boom"),)
    assert new_incidents((crashed, taken, echo), known, NOW) == ()


def test_a_pod_explains_the_loss_of_it_until_it_is_gone() -> None:
    taken, echo = seen.pod(1, deleted=NOW - 100, deleting=NOW - 10), seen.failed(0, 200, at=NOW - 9)
    assert [it.is_charged for it in new_incidents((taken, echo), (), NOW)] == [False]


def test_a_pod_explains_what_a_peer_says_that_was_made_in_the_second_in_which_it_went() -> None:
    taken, echo = seen.pod(1, deleted=NOW - 130.6), seen.failed(0, 200, at=NOW - 130, created=NOW - 130)
    assert [it.is_charged for it in new_incidents((taken, echo), (), NOW)] == [False]


def test_two_ends_after_the_clock_was_set_back_are_one_incident() -> None:
    ends = (seen.failed(0, at=NOW - 9, created=NOW + 500), seen.failed(1, at=NOW - 8, created=NOW + 500))
    assert len(new_incidents(ends, (), NOW)) == 1


def test_a_pod_that_was_replaced_unseen_has_ended_before_its_successor_was_made() -> None:
    ends = Ends(lambda: NOW)
    ends.hear(seen.pod(1), seen.pod(1, uid="successor", created=NOW - 50))
    assert [(it.uid, it.deleted) for it in ends.of("research/demo")] == [("pod-1", NOW - 50)]


def test_a_failure_that_is_cleaned_up_late_is_not_news() -> None:
    ends = Ends(lambda: NOW)
    ends.hear(seen.failed(0, at=NOW - 9000), None)
    assert ends.of("research/demo") == ()


def test_a_pod_that_was_taken_away_is_remembered_for_longer_than_the_ends_that_it_explains() -> None:
    clock = Clock()
    ends = Ends(clock.wall, clock.wall)
    ends.hear(seen.pod(1), seen.pod(1, deleted=clock.now, deleting=clock.now + 40))
    clock.advance(60)
    ends.hear(seen.pod(0), seen.failed(0, 200, at=clock.now))
    clock.advance(KEPT_SECONDS - 1)
    assert [it.uid for it in ends.of("research/demo")] == ["pod-1", "pod-0"]
