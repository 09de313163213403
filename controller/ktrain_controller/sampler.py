"""Asks Prometheus for the jobs that want another number of nodes when a query says so."""

import threading
from collections.abc import Callable

from ktrain_controller.metrics import Metrics
from ktrain_controller.model import Job
from ktrain_controller.prometheus import Prometheus
from ktrain_controller.reading import read
from ktrain_controller.sample import Sample, follow
from ktrain_controller.store import Store


class Sampler:
    """One thread; a round asks for one job after the other."""

    def __init__(
        self, prometheus: Prometheus, jobs: Store[Job], *, now: Callable[[], float], seconds: float,
        wake: Callable[[str], object], metrics: Metrics,
    ) -> None:  # fmt: skip
        self._prometheus, self._jobs, self._now, self._seconds = prometheus, jobs, now, seconds
        self._wake, self._metrics = wake, metrics
        self.samples: dict[str, Sample] = {}

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set."""
        while not stop.wait(self._seconds):
            held = 0
            for job in self._jobs.all():
                if not stop.is_set() and not job.has_ended and not job.is_suspended:
                    held += self._sample(job)
            self._metrics.held.set(held)

    def _sample(self, job: Job) -> bool:
        """Whether the job has a query that gives no number."""
        policy = read(job).policy
        if policy is None or policy.autoscale is None:
            return False
        wanted = policy.autoscale
        answer = self._prometheus.ask(wanted.query, self._now(), max_age=3 * self._seconds)
        found = self.samples[job.key] = follow(self.samples.get(job.key), answer, wanted.target, self._now())
        self._wake(job.key)
        return found.value is None
