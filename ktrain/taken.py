"""Which run this is: the one to go on with, a new one beside it, or one that is done."""

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ktrain import names, resume
from ktrain.errors import NotFound, SpecError, StorageError
from ktrain.history import Head, begin_run, current_run, job_storage, read_head
from ktrain.spec import TrainingJob
from ktrain.storage import Storage, scoped


@dataclass(frozen=True, slots=True)
class Taken:
    """The run that is worked on."""

    run: str  # empty: a new one
    attempt: int
    url: str
    head: Head | None
    warnings: tuple[str, ...] = ()
    is_raised: bool = False  # it was done, and the spec asks for more now

    @property
    def is_done(self) -> bool:
        """Whether nothing is left to train."""
        return self.head is not None and self.head.done

    @property
    def is_local(self) -> bool:
        """Whether it is kept in a folder of this machine."""
        return self.url.startswith("file:")

    @property
    def step(self) -> int:
        """Of the newest commit; 0 before the first."""
        return self.head.newest.step if self.head and self.head.newest else 0

    def now(self, job: TrainingJob, url: str) -> Head | None:
        """HEAD as it is now."""
        return read_head(scoped(job_storage(job, url), self.run))


def _is_raised(job: TrainingJob, run_storage: Storage) -> bool:
    """Whether the spec asks for another duration than the one that is done."""
    try:
        done = json.loads(run_storage.get(names.KEY_DONE)[0]).get("duration")
    except NotFound:
        return False
    return job.spec.trainer is not None and done is not None and done != str(job.spec.trainer.duration)


def metrics(head: Head | None, storage: Storage) -> Mapping[str, float]:
    """The evaluation that the newest commit remembers; empty when there is none or it cannot be read."""
    if head is None or head.newest is None:
        return {}
    try:
        manifest = json.loads(storage.get(head.newest.manifest)[0])
    except (StorageError, ValueError):  # it is only told, never relied on
        return {}
    found = manifest.get("meta", {}).get("progress", {}).get("metrics", {})
    return found if isinstance(found, dict) else {}


def look(job: TrainingJob, url: str, *, fresh: bool) -> Taken:
    """Which run it would be, checked against the spec that it began with; only reads. SpecError, StorageError."""
    return _look(job, job_storage(job, url), fresh=fresh)


def _look(job: TrainingJob, storage: Storage, *, fresh: bool) -> Taken:
    run = None if fresh else current_run(storage)
    if run is None:
        return Taken("", 1, storage.url, None)
    storage_of_run = scoped(storage, run)
    head = read_head(storage_of_run)
    begun: Mapping[str, Any] = json.loads(storage_of_run.get(names.KEY_SPEC)[0])
    try:
        warnings = resume.check(begun, job.model_dump(mode="json", by_alias=True))
    except SpecError:
        if head and head.newest:
            raise
        return Taken("", 1, storage.url, None)  # nothing was trained: whoever mends a mistake is not held to it
    is_raised = bool(head and head.done) and _is_raised(job, storage_of_run)
    if head and is_raised:
        head = dataclasses.replace(head, done=False)
    return Taken(run, head.attempt + 1 if head else 1, storage_of_run.url, head, tuple(warnings), is_raised=is_raised)


def take(job: TrainingJob, url: str, *, fresh: bool) -> Taken:
    """The same, and begins the run where it is a new one. SpecError, StorageError."""
    storage = job_storage(job, url)
    taken = _look(job, storage, fresh=fresh)
    if not taken.run:
        run = begin_run(storage, job.model_dump(mode="json", by_alias=True))
        return dataclasses.replace(taken, run=run, url=f"{storage.url}/{run}")
    if taken.is_raised:
        scoped(storage, taken.run).delete([names.KEY_DONE])  # launchers that find it leave at once
    return taken
