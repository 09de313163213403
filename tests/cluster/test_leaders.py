"""Two controllers, of which one leads: it dies, or stands still for longer than its lead lasts, while jobs need it."""

import os
import signal
from collections.abc import Iterator, Mapping

import pytest

from hack.cluster import controller, daemons
from tests.cluster.jobs import COUNT, Job, until
from tests.cluster.steer import (
    attempt,
    attempts,
    deletions,
    events,
    flags,
    log,
    prepare_for_process,
    signal_launcher,
    uids,
)

pytestmark = pytest.mark.slow
LED = "led"
PORTS = {"controller-a": 8081, "controller-b": 8082}


@pytest.fixture(scope="module")
def image(cluster: str) -> str:
    """Of the workers; the namespace is ready."""
    prepare_for_process(LED)
    return cluster


@pytest.fixture
def ended(image: str) -> Iterator[str]:
    """Whatever runs is ended."""
    yield image
    for name in PORTS:
        daemons.stop(name)


def replicas(first: str, second: str, *, env: Mapping[str, str] | None = None) -> None:
    """`first` leads, and `second` stands by."""
    for name in (first, second):
        daemons.stop(name)
    begun = log(first).count("event=leads ")
    controller.start(first, *flags(LED), f"--port={PORTS[first]}", env=env)
    until("it leads", lambda: log(first).count("event=leads ") > begun)
    controller.start(second, *flags(LED), f"--port={PORTS[second]}")


def twice_failing(name: str, image: str) -> Job:
    """A job whose second failure, without a commit between, replaces all pods at once."""
    job = Job(name, image, file=COUNT, namespace=LED)
    sets = ("trainer.duration=200ep", "trainer.checkpoint.every=10000step", "restart={backoff: {base: 0s}}")
    assert job.submit(*sets).returncode == 0
    until("it trains", lambda: job.rank0().get("step", 0) > 0)
    signal_launcher(job, 1, 9)
    until(
        "it trains again",
        lambda: len(uids(job)) == 2 and job.told().get("epoch", 0) > 1 and job.rank0().get("step", 0) > 0,
    )
    return job


def test_a_leader_that_dies_after_its_intent_is_finished_by_the_next(ended: str) -> None:
    replicas("controller-b", "controller-a", env={"KTRAIN_FAILPOINT": "after-intent"})
    job = twice_failing("leader-dies", ended)
    signal_launcher(job, 1, 9)
    until("it is dead", lambda: not daemons.is_running("controller-b"))
    assert attempt(job) == 2
    until("finished by the other", lambda: attempts(job) == [2, 2])
    assert attempt(job) == 2
    assert set(deletions(job).values()) == {1}
    assert not deletions(job).keys() & uids(job)
    assert list(events(job)) == ["PodFailed"]
    job.end()


def test_a_leader_that_was_stopped_for_longer_than_its_lease_does_nothing_more(ended: str) -> None:
    replicas("controller-a", "controller-b")
    job = twice_failing("leader-stopped", ended)
    before = uids(job)
    leader = daemons.pid_of("controller-a")
    assert leader is not None
    terms = log("controller-b").count("event=leads ")
    os.kill(leader, signal.SIGSTOP)
    until("the other one leads", lambda: log("controller-b").count("event=leads ") > terms)
    signal_launcher(job, 1, 9)
    until("it replaces all", lambda: len(uids(job)) == 2 and not uids(job) & before)
    os.kill(leader, signal.SIGCONT)
    until("it knows", lambda: "event=leads_no_more" in log("controller-a").splitlines()[-1])
    assert attempt(job) == 2
    assert set(deletions(job).values()) == {1}
    job.end()
