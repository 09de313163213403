"""What is kept of launchers' words, for each job."""

import json
import time
from collections.abc import Callable, Iterator

import pytest

from ktrain.serve import Server
from ktrain_controller.ends import Ends
from ktrain_controller.heartbeats import Heartbeats
from ktrain_controller.metrics import Metrics
from ktrain_controller.model import Pod
from ktrain_controller.observation import Fleet, Limits, Observation
from ktrain_controller.state import State
from ktrain_controller.store import Store
from ktrain_controller.world import World
from tests.controller.seen import NOW, job, pod, policy

KEY = pod().owner


def wait_for(claim: Callable[[], bool]) -> None:
    ends = time.monotonic() + 10
    while not claim() and time.monotonic() < ends:
        time.sleep(0.005)
    assert claim()


class Job:
    """A launcher that can be asked, and the heartbeats that ask it."""

    def __init__(self) -> None:
        self.now, self.steps = NOW, 0
        self._server = Server({"/status": self._page}, setting="port", bind="127.0.0.1", port=0)
        self.pods: Store[Pod] = Store(lambda it: it.owner)
        self.beats = Heartbeats(
            self.pods,
            now=lambda: self.now,
            wake=len,
            metrics=Metrics(),
            say=lambda _event, **_fields: None,
            window=60.0,
        )
        self.pods.listen(self.beats.follow)
        self.pods.replace([pod(0, ip="127.0.0.1", port=self._server.port)])
        wait_for(lambda: KEY in self.beats.beats)

    def _page(self) -> tuple[int, str, bytes]:
        pace = [{"rank": rank, "steps": self.steps, "step_seconds": 0.1 * self.steps} for rank in range(2)]
        status = {"state": "running", "epoch": 1, "attempt": 1, "world_size": 2, "pace": pace}
        return 200, "application/json", json.dumps(status).encode()

    def after(self, seconds: float, *, steps: int) -> None:
        """It is asked so much later."""
        self.now, self.steps = self.now + seconds, self.steps + steps
        self.beats.scraper.ask_soon(KEY)
        wait_for(lambda: self.beats.beats[KEY].heard_at == self.now)

    def seen(self) -> Observation:
        """What is decided from."""
        world = World(
            jobs=Store(), pods=self.pods, nodes=None, ends=Ends(lambda: self.now), now=lambda: self.now, fleet=Fleet,
            beat=self.beats.beats.get, earlier=self.beats.earlier.get, silence=self.beats.scraper.silence,
            sample=lambda _key: None, limits=Limits(),
        )  # fmt: skip
        return world.observe(job(), policy(), State())

    def close(self) -> None:
        self.beats.scraper.close()
        self._server.close()


@pytest.fixture
def one() -> Iterator[Job]:
    made = Job()
    yield made
    made.close()


def test_an_older_beat_is_kept_to_be_compared_with(one: Job) -> None:
    assert one.beats.earlier == {}  # its ranks have made no steps yet
    one.after(10, steps=100)
    one.after(60, steps=100)
    assert (one.beats.earlier[KEY].heard_at, one.beats.beats[KEY].heard_at) == (NOW + 10, NOW + 70)
    one.after(10, steps=100)
    assert one.beats.earlier[KEY].heard_at == NOW + 70
    assert [it.steps for it in one.beats.earlier[KEY].pace] == [200, 200]


def test_both_beats_are_in_the_observation(one: Job) -> None:
    one.after(10, steps=100)
    one.after(60, steps=100)
    seen = one.seen()
    assert seen.earlier is not None
    assert seen.beat is not None
    assert (seen.earlier.heard_at, seen.beat.heard_at) == (NOW + 10, NOW + 70)


def test_of_a_job_that_is_gone_nothing_is_kept(one: Job) -> None:
    one.after(10, steps=100)
    assert KEY in one.beats.earlier
    one.beats.forget(KEY)
    assert (one.beats.beats, one.beats.earlier) == ({}, {})
