"""What Prometheus is asked for jobs, and what is kept of its answers: no more than jobs need that train."""

import threading
from typing import Any, Final

import pytest

from ktrain_controller.metrics import Metrics
from ktrain_controller.model import Job
from ktrain_controller.prometheus import Answer, Prometheus
from ktrain_controller.sampler import Sampler
from ktrain_controller.store import Store
from tests.controller.seen import NOW, job, policy

SCALE: Final = {"query": "load", "target": 1, "min": 1, "max": 4}


class Oracle(Prometheus):
    """Answers at once, and always the same."""

    def __init__(self) -> None:
        super().__init__("http://prometheus:9090")
        self.value: float | None = 2.0
        self.asked: list[str] = []

    def ask(self, query: str, now: float, *, max_age: float | None = None) -> Answer:
        self.asked.append(query)
        return Answer(self.value, "" if self.value else "no series")


def scaled(**fields: Any) -> Job:
    scale = fields.pop("scale", SCALE)
    return job(**{"policy": policy(nodes={"min": 1, "max": 4}, autoscale=scale).encode(), **fields})


class Rig:
    def __init__(self, *jobs: Job) -> None:
        self.oracle, self.metrics, self.woken = Oracle(), Metrics(), list[str]()
        self.store = Store[Job]()
        self.store.replace(jobs)
        self.sampler = Sampler(
            self.oracle, self.store, now=lambda: NOW, seconds=15, wake=self.woken.append, metrics=self.metrics
        )

    def go_round(self, *jobs: Job) -> None:
        """After these are the jobs; those that were, by default."""
        if jobs:
            self.store.replace(jobs)
        self.sampler.go_round(threading.Event())

    @property
    def streak(self) -> int:
        return self.sampler.samples["research/demo"].streak


def test_jobs_with_a_query_are_asked_for_and_woken() -> None:
    rig = Rig(scaled(), job(name="plain", policy=policy().encode()))
    rig.go_round()
    rig.go_round()
    assert rig.oracle.asked == ["load", "load"]
    assert rig.woken == ["research/demo"] * 2
    assert rig.streak == 2


def test_who_gives_no_number_is_counted() -> None:
    rig = Rig(scaled(), scaled(name="other"))
    rig.oracle.value = None
    rig.go_round()
    assert rig.metrics.registry.get_sample_value("ktrain_controller_autoscale_held") == 2


@pytest.mark.parametrize(
    "gone",
    [
        job(name="another"), scaled(phase="Succeeded"), scaled(is_suspended=True), job(policy=policy().encode()),
        job(policy="{"),
    ],
    ids=["deleted", "ended", "suspended", "no query any more", "unreadable"],
)  # fmt: skip
def test_who_is_not_asked_for_any_more_is_forgotten(gone: Job) -> None:
    rig = Rig(scaled())
    rig.go_round()
    rig.go_round(gone)
    assert rig.sampler.samples == {}
    rig.go_round(scaled())
    assert rig.streak == 1


@pytest.mark.parametrize(
    "other",
    [scaled(uid="job-2"), scaled(scale={**SCALE, "query": "other"}), scaled(scale={**SCALE, "target": 1.5})],
    ids=["job", "query", "target"],
)
def test_answers_to_another_question_are_no_trend(other: Job) -> None:
    rig = Rig(scaled())
    rig.go_round()
    rig.go_round()
    rig.go_round(other)
    assert rig.streak == 1


def test_a_round_that_is_broken_off_asks_nobody_any_more() -> None:
    rig, stop = Rig(scaled()), threading.Event()
    stop.set()
    rig.sampler.go_round(stop)
    assert rig.oracle.asked == []
