"""Whether storage has room for a checkpoint, where it is a folder that can be asked."""

import errno
import shutil
from collections.abc import Iterator
from typing import Final

from ktrain.errors import FencedError, FullError, StorageError
from ktrain.units import format_bytes

_FULL: Final = {errno.ENOSPC, errno.EDQUOT}
_FOLDER: Final = "file://"


def free_bytes(url: str) -> int | None:
    """What may still be written there; None where nobody can say."""
    if not url.startswith(_FOLDER):
        return None
    try:
        return shutil.disk_usage(url.removeprefix(_FOLDER)).free
    except OSError:  # the save's own error tells more
        return None


def is_full(error: BaseException, *, needed: int, free: int | None) -> bool:
    """Whether a write failed for want of room: by its error, and on other ranks, who only hear of it, by what is left."""
    has_said = any(isinstance(it, OSError) and it.errno in _FULL for it in _causes(error))
    return has_said or (free is not None and free < needed)


def tell(error: BaseException, *, needed: int, free: int | None) -> str:
    """The failure with what is needed and what there is."""
    left = "" if free is None else f", {format_bytes(free)} are free"
    return f"{error} (a checkpoint takes {format_bytes(needed)}{left})"


def in_vain(error: StorageError, step: int, *, needed: int, url: str) -> FullError | None:
    """For a program that ends with a save that fails: the error that says so, where the next try would end alike."""
    free = free_bytes(url)
    if isinstance(error, FencedError) or not is_full(error, needed=needed, free=free):
        return None
    return FullError(f"the checkpoint of step {step} could not be written: {tell(error, needed=needed, free=free)}")


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
