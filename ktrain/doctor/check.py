"""One thing that was checked."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from ktrain.errors import KtrainError


class Verdict(StrEnum):
    """How it is."""

    OK = "ok"
    WARN = "warn"  # works, but not all of it
    FAIL = "fail"
    UNKNOWN = "unknown"  # could not be asked


@dataclass(frozen=True, slots=True)
class Check:
    """What was checked, how it is, and what to do about it."""

    name: str
    verdict: Verdict
    told: str


def guarded(name: str, look: Callable[[], Iterator[Check]], *, otherwise: Verdict) -> Iterator[Check]:
    """A check that cannot be made is told as such; the others go on."""
    try:
        yield from look()
    except KtrainError as error:
        yield Check(name, otherwise, str(error))
