"""Jobs of a study, and what a place that runs them can do."""

from dataclasses import dataclass
from typing import Final, Literal, Protocol

from ktrain.history import current_run
from ktrain.records import Records, read_records
from ktrain.storage import Storage, scoped


@dataclass(frozen=True, slots=True)
class Work:
    """One job: the study's job file under another name, with some keys changed."""

    name: str  # of the job
    sets: tuple[str, ...]
    is_new: bool = True  # begins a run of its own; otherwise it goes on with its last one


@dataclass(frozen=True, slots=True)
class Ended:
    """How a job ended; `why` is for people."""

    how: Literal["done", "stopped", "failed"]
    why: str = ""


@dataclass(frozen=True, slots=True)
class Seen:
    """What a job's run has written so far, and where; empty before it began."""

    records: Records
    url: str


NOTHING: Final = Seen(Records((), 0), "")


def seen_in(storage: Storage, *, before: str | None) -> Seen:
    """From the job's storage; `before` is the run that was current when a new one was asked for."""
    run = current_run(storage)
    if run is None or run == before:
        return NOTHING
    mine = scoped(storage, run)
    return Seen(read_records(mine), mine.url)


class Jobs(Protocol):
    """Where jobs run: this machine, or a cluster. Each job is an ordinary one, which resumes from its checkpoint."""

    def start(self, work: Work, slot: int) -> None:
        """Starts it; `slot` counts those that run at once, from 0, and tells which devices are its own."""

    def look(self, work: Work) -> Ended | None:
        """How it ended, None while it trains."""

    def see(self, work: Work) -> Seen:
        """What its run has written so far; of an earlier run of this name nothing."""

    def stop(self, work: Work) -> None:
        """Asks it to save and leave; `look` tells when it has."""

    def leave(self, work: Work) -> None:
        """We are told to end: it saves and ends too, where it cannot go on without us."""

    def kill(self) -> None:
        """Ends all that run, at once."""

    def close(self) -> None:
        """No more work."""


def job_name(base: str, kind: str, number: int, longest: int) -> str:
    """Of a job that belongs to another one; its number is kept where the name has to be cut."""
    tail = f"-{kind}{number}"
    return f"{base[: longest - len(tail)].rstrip('-')}{tail}"
