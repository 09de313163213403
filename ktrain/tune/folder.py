"""Where a study is kept: a folder beside the job file, with one program at a time in it."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ktrain.errors import Conflict, StorageError
from ktrain.load import Loaded


def study_folder(loaded: Loaded, *, kind: str = "") -> Path:
    """studies/<name><kind> in the job file's folder."""
    return loaded.folder / "studies" / f"{loaded.job.metadata.name}{kind}"


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Makes the folder and keeps others out; Conflict when somebody is in it. The kernel frees it with the process."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("a")
    except OSError as error:
        raise StorageError(f"{folder} cannot be written: {error.strerror}") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(
                f"another ktrain works on the study in {folder}; wait for it, or take another --study"
            ) from None
        yield
