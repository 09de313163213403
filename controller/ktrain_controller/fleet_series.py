"""A series of each job for Prometheus, made from what is known at the moment of a scrape: nothing is kept.

Written as text by itself: through prometheus_client, 10,000 jobs would hold the interpreter for a second each time.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from ktrain_controller import series
from ktrain_controller.model import Job, Pod
from ktrain_controller.sample import Sample
from ktrain_controller.series import Series
from ktrain_controller.state import Release, read_state
from ktrain_controller.store import Store


@dataclass(frozen=True, slots=True)
class Row:
    """One job, now."""

    labels: str  # as they are written; names of Kubernetes objects need no escape
    job: Job
    state: str
    since: float
    is_whole: bool  # every pod of the gang runs
    sample: Sample | None  # of its autoscale query


def render(jobs: Store[Job], pods: Store[Pod], sample: Callable[[str], Sample | None]) -> bytes:
    """The page's part; pods: by owner."""
    rows = [_row(job, pods.of(job.key), sample(job.key)) for job in jobs.all()]
    return "".join(line for it in series.OF_JOBS for line in _family(it, rows)).encode()


def _row(job: Job, pods: Sequence[Pod], sample: Sample | None) -> Row:
    state, since = standing(job)
    is_whole = sum(pod.is_up for pod in pods) >= job.replicas
    return Row(f'namespace="{job.namespace}",ktrain_job="{job.name}"', job, state, since, is_whole, sample)


def standing(job: Job) -> tuple[str, float]:
    """The job's state in one word, and since when. Kueue's word is not asked for: what it holds back is queued."""
    if job.has_ended or not job.is_suspended:
        return job.phase.lower(), job.since
    release = _release(job)
    if release is not None:
        return "paused", release.since or job.since
    return ("queued" if job.queue else "suspended"), job.since


def _release(job: Job) -> Release | None:
    try:
        return read_state(job.state).release
    except ValueError:
        return None


def _family(it: Series, rows: Sequence[Row]) -> Iterable[str]:
    value = _VALUES[it]
    yield f"# HELP {it.name} {it.help}\n# TYPE {it.name} {it.kind}\n"
    for row in rows:
        found = value(row)
        if found is not None:
            state = f',state="{row.state}"' if it is series.STATE else ""
            yield f"{it.name}{{{row.labels}{state}}} {found!r}\n"


def _open(value: Callable[[Row], float]) -> Callable[[Row], float | None]:
    """Of a job that has not ended: the others, kept for days, would be most of the page."""
    return lambda row: None if row.job.has_ended else value(row)


def _held(row: Row) -> float | None:
    if row.sample is None or row.job.has_ended or row.job.is_suspended:
        return None
    return int(row.sample.value is None)


_VALUES: Final[dict[Series, Callable[[Row], float | None]]] = {
    series.STATE: lambda _row: 1,
    series.STATE_SINCE: lambda row: row.since,
    series.WAITING: _open(lambda row: int(row.state != "suspended" and not (row.state == "running" and row.is_whole))),
    series.ATTEMPT: _open(lambda row: max(row.job.attempt, row.job.newest_attempt)),
    series.NODES: _open(lambda row: row.job.replicas),
    series.GPUS: _open(lambda row: row.job.replicas * row.job.gpus),
    series.JOB_HELD: _held,
}
