"""Pods that ended lately: the first word of an end counts."""

from dataclasses import replace

import pytest

from ktrain_controller.ends import EXPLAINS_SECONDS, KEPT_SECONDS, Ends
from ktrain_controller.incidents import Kind, kind
from tests.controller.seen import NOW, failed, job, pod


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def ends() -> tuple[Ends, Clock]:
    clock = Clock()
    return Ends(clock, clock), clock


def test_a_pod_that_runs_has_not_ended() -> None:
    seen, _ = ends()
    seen.hear(None, pod())
    assert seen.of("research/demo") == ()


def test_a_failed_pod_is_kept_as_it_failed_though_the_operator_takes_it_away() -> None:
    seen, _ = ends()
    seen.hear(pod(), failed())
    seen.hear(failed(), failed(deleted=NOW, deleting=NOW + 30))
    seen.hear(failed(deleted=NOW, deleting=NOW + 30), None)
    assert seen.of("research/demo") == (failed(),)


def test_a_pod_that_vanished_was_taken() -> None:
    seen, _ = ends()
    seen.hear(pod(), None)
    (found,) = seen.of("research/demo")
    assert kind(found) is Kind.FREE


def test_ends_are_forgotten_after_a_while_and_with_their_job() -> None:
    seen, clock = ends()
    seen.hear(pod(), failed())
    seen.hear(None, replace(failed(), job="other"))
    seen.drop("research/other")
    assert seen.of("research/other") == ()
    clock.now += KEPT_SECONDS + 1
    assert seen.of("research/demo") == ()


def test_a_standby_that_nobody_asks_forgets_as_well() -> None:
    seen, clock = ends()
    for number in range(100):
        seen.hear(None, replace(failed(uid=f"u{number}"), job=f"job-{number}"))
        clock.now += EXPLAINS_SECONDS
    assert len(seen) <= 2


def test_a_job_of_the_same_name_does_not_inherit_ends() -> None:
    seen, _ = ends()
    seen.hear(None, failed())
    seen.follow(job(), job(phase="Restarting"))
    assert seen.of("research/demo") == (failed(),)
    seen.follow(job(), job(uid="job-2"))
    assert seen.of("research/demo") == ()


def test_a_job_that_is_gone_leaves_no_ends() -> None:
    seen, _ = ends()
    seen.hear(None, failed())
    seen.follow(job(), None)
    assert seen.of("research/demo") == ()


@pytest.mark.parametrize("step", [-600, 600])
def test_an_end_is_remembered_for_as_long_as_ever_when_the_servers_clock_is_set(step: float) -> None:
    server, ours = Clock(), Clock()
    seen = Ends(server, ours)
    seen.hear(pod(1), pod(1, deleted=NOW, deleting=NOW + 30))
    seen.hear(pod(0), failed(0, 200, at=NOW))
    server.now += step
    seen.hear(pod(1, deleted=NOW, deleting=NOW + 30), pod(1, uid="successor", created=NOW + step))
    ours.now += KEPT_SECONDS - 1
    assert [it.uid for it in seen.of("research/demo")] == ["pod-1", "pod-0"]
    ours.now += 1
    assert [it.uid for it in seen.of("research/demo")] == ["pod-1"]
