"""A controller that dies at every point of a restart, a rescale and the end of a job, on a real cluster: another one goes on each time.

It has one namespace and no right to look at nodes.
"""

from collections import Counter
from collections.abc import Iterator

import pytest

from hack.cluster import controller, daemons, prometheus
from hack.cluster.kubectl import kubectl
from ktrain_controller.failpoint import ENV, Point
from tests.cluster.jobs import CRASH, ELASTIC, Job, started, until, visits
from tests.cluster.steer import (
    attempt,
    attempts,
    deletions,
    document,
    events,
    flags,
    log,
    prepare_for_process,
    reasons,
    signal_launcher,
    state,
    uids,
)

pytestmark = pytest.mark.slow
ENDED = "broken-off"  # a namespace whose controllers do not live long
NAME = "controller-f"


@pytest.fixture(scope="module")
def image(cluster: str) -> Iterator[str]:
    prepare_for_process(ENDED)
    daemons.stop(NAME)  # of a run that was broken off
    yield cluster
    daemons.stop(NAME)
    assert 'event=without what="nodes are not read: ' in log(NAME)


def start(point: Point | None = None) -> None:
    """A controller that dies at that point; it has the name of the last one, and so its Lease."""
    daemons.stop(NAME)
    begun = log(NAME).count("event=leads ")
    more = ("--silent-seconds=15", "--port=8084", f"--prometheus={prometheus.URL}")
    controller.start(NAME, *flags(ENDED, nodes=False), *more, env={ENV: point} if point else None)
    until("it leads", lambda: log(NAME).count("event=leads ") > begun)


def die_at(*points: Point) -> None:
    """One controller after the other, each dead before the next begins; then one that lives."""
    for point in points:
        start(point)
        until(f"it has died {point}", lambda: not daemons.is_running(NAME))
    start()


def waiting(name: str, image: str, *sets: str) -> Job:
    """Two pods that do nothing, well met."""
    job = Job(name, image, file=CRASH, namespace=ENDED)
    told = job.submit("script.args=[wait]", "restart={max: 9, backoff: {base: 0s}}", "preemption.grace=2s", *sets)
    assert told.returncode == 0, told.stderr
    until("it runs", lambda: runs(job, 1))
    return job


def runs(job: Job, number: int) -> bool:
    """In this attempt, with both pods."""
    return attempts(job) == [number] * 2 and all(job.told(index).get("state") == "running" for index in (0, 1))


def fail(job: Job, *, epoch: int) -> None:
    """A pod is killed, and made again by the operator; then all meet in this epoch."""
    signal_launcher(job, 1, 9)
    until("its pod is replaced", lambda: runs(job, 1) and job.told()["epoch"] == epoch)


def test_a_restart_that_is_broken_off_again_and_again_happens_once(image: str) -> None:
    start()
    job = waiting("restarted", image)
    fail(job, epoch=2)
    assert reasons(job) == ["PodFailed"]
    start(Point.BEFORE_INTENT)
    fail(job, epoch=3)  # what it saw dies with it, and the operator takes the pod's end away
    assert not daemons.is_running(NAME)
    assert attempt(job) == 1
    before = uids(job)
    start(Point.AFTER_INTENT)
    signal_launcher(job, 1, 9)
    until("it is dead", lambda: not daemons.is_running(NAME))
    die_at(Point.AFTER_DELETES, Point.BEFORE_EVENT)
    until("it runs again", lambda: runs(job, 2))
    assert not uids(job) & before
    assert set(deletions(job).values()) == {1}
    assert len(state(job).incidents) == 2
    assert attempt(job) == 2
    job.end()


def test_what_was_asked_is_not_asked_again_and_whoever_was_deleted_not_deleted(image: str) -> None:
    start(Point.AFTER_REQUEST)
    job = waiting("asked", image)
    before = uids(job)
    signal_launcher(job, 0, 19)
    until("it is dead", lambda: not daemons.is_running(NAME))
    die_at(Point.BETWEEN_DELETES)
    until("it runs again", lambda: runs(job, 2) and not uids(job) & before)
    assert reasons(job)[:2] == ["Stalled", "Hang"]
    assert deletions(job) == Counter(dict.fromkeys(before, 1))
    job.end()


def test_a_rescale_that_is_broken_off_again_and_again_happens_once(image: str) -> None:
    scale = 'autoscale={query: "vector(0.1)", target: 1, min: 1, max: 2, cooldown: 1s}'
    daemons.stop(NAME)
    job = started("rescaled", image, ELASTIC, "trainer.duration=3ep", scale, namespace=ENDED)
    die_at(Point.BEFORE_RESIZE, Point.AFTER_RESIZE)
    assert job.wait("Succeeded", "Failed") == "Succeeded"
    assert visits(job.storage()) == {3.0}
    assert reasons(job).count("Rescaled") == 1
    assert attempt(job) == 1
    assert not deletions(job)  # the operator takes the other pod, and the one that stays goes on


def test_a_job_whose_controllers_die_is_paused_resumed_and_given_up_once(image: str) -> None:
    job = Job("hopeless", image, file=CRASH, namespace=ENDED)
    told = job.submit("restart={max: 3, window: 1h, backoff: {base: 1s, cap: 2s}, inPlace: 0}")
    assert told.returncode == 0, told.stderr
    die_at(Point.AFTER_SUSPEND, Point.AFTER_RESUME, Point.BEFORE_VERDICT, Point.AFTER_VERDICT)
    assert job.wait("Failed") == "Failed"
    until("told", lambda: "RestartsExhausted" in events(job))
    assert reasons(job).count("RestartsExhausted") == 1
    assert "gave up after 4 failures" in document(job)["status"]["conditions"][-1]["message"]
    described = kubectl("-n", ENDED, "describe", "pytorchjob", job.name)
    assert "RestartsExhausted" in described
    assert "gave up after 4 failures within 1h without a newer checkpoint" in described
