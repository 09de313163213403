"""Asks Prometheus for the jobs that want another number of nodes when a query says so."""

import threading
from collections.abc import Callable

from ktrain.spec.platform import Autoscale
from ktrain_controller.metrics import Metrics
from ktrain_controller.model import Job
from ktrain_controller.prometheus import Prometheus
from ktrain_controller.reading import read
from ktrain_controller.sample import Sample, follow
from ktrain_controller.store import Store

Question = tuple[str, Autoscale]  # of which job, by uid


class Sampler:
    """One thread; a round asks for one job after the other."""

    def __init__(
        self, prometheus: Prometheus, jobs: Store[Job], *, now: Callable[[], float], seconds: float,
        wake: Callable[[str], object], metrics: Metrics,
    ) -> None:  # fmt: skip
        self._prometheus, self._jobs, self._now, self._seconds = prometheus, jobs, now, seconds
        self._wake, self._metrics = wake, metrics
        self.samples: dict[str, Sample] = {}
        self._asked: dict[str, Question] = {}  # what those are the answers to

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set."""
        while not stop.wait(self._seconds):
            self.go_round(stop)

    def go_round(self, stop: threading.Event) -> None:
        """Asks for each job that trains, and forgets all others: what was asked before a pause is no trend after it."""
        questions = {job.key: (job.uid, wanted) for job in self._jobs.all() if (wanted := _wanted(job))}
        for key in [key for key, asked in self._asked.items() if questions.get(key) != asked]:
            del self._asked[key], self.samples[key]
        held = 0
        for key, question in questions.items():
            if stop.is_set():
                return
            held += self._sample(key, question)
        self._metrics.held.set(held)

    def _sample(self, key: str, question: Question) -> bool:
        """Whether the query gives no number."""
        _, wanted = question
        answer = self._prometheus.ask(wanted.query, self._now(), max_age=3 * self._seconds)
        found = self.samples[key] = follow(self.samples.get(key), answer, wanted.target, self._now())
        self._asked[key] = question
        self._wake(key)
        return found.value is None


def _wanted(job: Job) -> Autoscale | None:
    if job.has_ended or job.is_suspended:
        return None
    policy = read(job).policy
    return policy.autoscale if policy else None
