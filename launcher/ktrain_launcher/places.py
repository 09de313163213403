"""Where this launcher reads and writes: the job's storage and the run's."""

from dataclasses import dataclass
from typing import Final

from ktrain.errors import Conflict
from ktrain.history import begin_run, current_run, job_storage
from ktrain.spec import TrainingJob
from ktrain.storage import Storage, scoped
from ktrain.voice import Say
from ktrain_launcher.journal import Journal
from ktrain_launcher.pod import Pod
from ktrain_launcher.stop import Stop

POLL_SECONDS: Final = 0.5


@dataclass(frozen=True, slots=True)
class Places:
    """Storage, scoped."""

    job: Storage
    run: Storage
    run_id: str
    journal: Journal


def open_places(pod: Pod, job: TrainingJob, stop: Stop, say: Say) -> Places | None:
    """Opens them; None when we are told to stop while node 0 has not begun a run yet."""
    storage = job_storage(job, pod.storage_url)
    run_id = pod.run or _find_run(storage, pod, job, stop)
    if run_id is None:
        return None
    run = scoped(storage, run_id)
    return Places(storage, run, run_id, Journal(run, say))


def _find_run(storage: Storage, pod: Pod, job: TrainingJob, stop: Stop) -> str | None:
    """The job's current run; node 0 begins one when there is none, the others wait for it."""
    while (run := current_run(storage)) is None:
        if pod.node_rank == 0:
            try:
                return begin_run(storage, job.model_dump(mode="json"))
            except Conflict:  # somebody was faster: theirs is the current one
                continue
        if stop.wait(POLL_SECONDS):
            return None
    return run
