"""Jobs of a study in a cluster: each is submitted as `ktrain submit` does, and read from its run's storage."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ktrain.cluster import JOB, Cluster
from ktrain.errors import MissingError
from ktrain.history import current_run, job_storage
from ktrain.jobs.cancel import REASON, mark_failed
from ktrain.jobs.find import conditions, ended
from ktrain.jobs.reach import borrow_credentials
from ktrain.load import Loaded
from ktrain.storage import Storage
from ktrain.submit import create
from ktrain.submit.load import load_for
from ktrain.submit.plan import plan
from ktrain.tune.work import Ended, Seen, Work, seen_in

_GIVEN_UP: Final = "given up by `ktrain tune`; its run is kept"


@dataclass
class There:
    """Jobs of a cluster: they go on when we go, and the next call finds them."""

    cluster: Cluster
    job_file: Path
    sets: Sequence[str]  # of the user, for every job
    namespace: str | None = None  # None: the file's or the context's
    _loaded: dict[str, Loaded] = field(default_factory=dict)
    _storages: dict[str, Storage] = field(default_factory=dict)  # of the jobs
    _before: dict[str, str | None] = field(default_factory=dict)  # the run that a new one takes the place of
    _left: set[str] = field(default_factory=set)

    def start(self, work: Work, _slot: int) -> None:
        """Submits it, in place of a job of this name that has ended; one that still trains is taken as it is."""
        loaded = self._load(work)
        self._left.discard(work.name)
        there = self._find(loaded)
        if there is not None and not work.is_new and (ended(there) is None or _succeeded(there)):
            return
        replaced = create.ended_job(self.cluster, loaded.job, replace=True)
        planned = plan(loaded, self.cluster, fresh=work.is_new)
        self._before[work.name] = current_run(self._storage(work)) if work.is_new else None
        create.create(self.cluster, planned, replaced=replaced)

    def look(self, work: Work) -> Ended | None:
        """By the job's conditions."""
        if work.name in self._left:
            return Ended("stopped")
        job = self._find(self._load(work))
        if job is None:
            return Ended("stopped", "somebody has deleted its job")
        condition = ended(job)
        if condition is None:
            return None
        if condition["type"] == "Succeeded":
            return Ended("done")
        if condition.get("reason") == REASON:
            return Ended("stopped")
        return Ended("failed", str(condition.get("message") or condition.get("reason") or "no reason is given"))

    def see(self, work: Work) -> Seen:
        """From the run's storage."""
        return seen_in(self._storage(work), before=self._before.get(work.name))

    def stop(self, work: Work) -> None:
        """As `ktrain cancel --now`: the pods are told to go, and save as they go; its object stays."""
        job = self._find(self._load(work))
        if job is not None and ended(job) is None:
            mark_failed(self.cluster, job, reason=REASON, message=_GIVEN_UP)

    def leave(self, work: Work) -> None:
        """It goes on without us."""
        self._left.add(work.name)

    def kill(self) -> None:
        """Nothing here dies with us."""

    def close(self) -> None:
        """Nothing to close."""

    def _load(self, work: Work) -> Loaded:
        if work.name not in self._loaded:
            own = [*self.sets, *work.sets, f"metadata.name={work.name}", "tune="]
            self._loaded[work.name] = load_for(self.job_file, own, self.namespace, self.cluster.namespace)
        return self._loaded[work.name]

    def _storage(self, work: Work) -> Storage:
        if work.name not in self._storages:
            loaded = self._load(work)
            borrow_credentials(self.cluster, loaded.job)
            self._storages[work.name] = job_storage(loaded.job, loaded.storage_url)
        return self._storages[work.name]

    def _find(self, loaded: Loaded) -> dict[str, Any] | None:
        me = loaded.job.metadata
        try:
            return self.cluster.get(JOB, me.namespace, me.name)
        except MissingError:
            return None


def _succeeded(job: dict[str, Any]) -> bool:
    return any(it["type"] == "Succeeded" and it["status"] == "True" for it in conditions(job))
