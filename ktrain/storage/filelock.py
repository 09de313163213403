"""One writer at a time in a folder, between processes: what makes compare-and-rename one step."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ktrain.storage.keys import RESERVED


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Holds the lock of this file's name; the kernel frees it when the process dies."""
    lock = path.parent / f"{RESERVED}{path.name}.lock"
    descriptor = _acquire(lock)
    try:
        yield
    finally:
        # Removed while held, so that no lock file stays behind; whoever waits for it notices in _acquire.
        with suppress(FileNotFoundError):
            lock.unlink()
        os.close(descriptor)


def _acquire(lock: Path) -> int:
    while True:
        descriptor = os.open(lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if _is_current(lock, descriptor):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its last holder removed it: this lock locks nothing


def _is_current(lock: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(lock.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
