"""Which run is meant: a job file's current one, or the run or job folder that is named."""

from collections.abc import Sequence
from pathlib import Path

from ktrain.errors import NotFound, SpecError
from ktrain.history import current_run, is_run, job_storage
from ktrain.load import load_job
from ktrain.storage import Storage, open_storage, scoped


class NoRunError(SpecError):
    """Nothing that is named is a run."""

    cli_exit = NotFound.cli_exit


def find_run(source: str, sets: Sequence[str] = ()) -> tuple[Storage, str]:
    """The run's storage and its uuid; `sets` change a job file as they did for the run. NoRunError, SpecError."""
    if "://" not in source and Path(source).is_file():
        loaded = load_job(Path(source), sets)
        storage = job_storage(loaded.job, loaded.storage_url)
    else:
        storage = open_storage(source)
        name = source.rstrip("/").rsplit("/", 1)[-1]
        if is_run(name):
            return storage, name
    run = current_run(storage)
    if run is None:
        raise NoRunError(f"{storage.url} has no run yet; `ktrain run` begins one")
    return scoped(storage, run), run
