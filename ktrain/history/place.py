"""Where a job's history is kept: namespace/name in its storage."""

from collections.abc import Callable
from functools import partial

from ktrain.spec import TrainingJob
from ktrain.storage import Storage, open_storage, scoped


def opener(job: TrainingJob) -> Callable[[str], Storage]:
    """Opens any URL with the endpoint, region and certificates of the job's own storage."""
    given = job.spec.storage
    return partial(open_storage, endpoint=given.endpoint, region=given.region, ca_bundle=given.ca_bundle)


def job_storage(job: TrainingJob, url: str | None = None) -> Storage:
    """The job's folder with all its runs; `url` in place of the spec's (relative paths are resolved by then)."""
    return scoped(opener(job)(url or job.spec.storage.url), f"{job.metadata.namespace}/{job.metadata.name}")
