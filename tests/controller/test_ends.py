"""Pods that ended lately: the first word of an end counts."""

from dataclasses import replace

from ktrain_controller.ends import KEPT_SECONDS, Ends
from ktrain_controller.incidents import Kind, kind
from tests.controller.seen import NOW, failed, pod


class Clock:
    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


def ends() -> tuple[Ends, Clock]:
    clock = Clock()
    return Ends(clock), clock


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
