"""Trains a job once on this machine, in a place of the caller's, and gives what is to be judged of it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from ktrain.history import Head, job_storage
from ktrain.local.gang import Gang
from ktrain.local.mapping import Mapped
from ktrain.local.run import Ended, Interrupts, Runner
from ktrain.local.view import View
from ktrain.names import CliExit
from ktrain.picture import Picture
from ktrain.records import Records, read_records
from ktrain.storage import Storage, scoped
from ktrain.taken import take

Attend = Callable[[Runner, Picture], None]
ASK_EVERY: Final = 0.1  # seconds between two looks at the launchers, where somebody attends to them


@dataclass(frozen=True, slots=True)
class Run:
    """How it ended, and what it left."""

    ended: Ended
    records: Records
    head: Head | None
    storage: Storage

    @property
    def is_done(self) -> bool:
        """Whether it came to the end of its training."""
        return self.ended.code is CliExit.OK


def train_once(
    mapped: Mapped, folder: Path, url: str, view: View, interrupts: Interrupts, *, fresh: bool,
    env: Mapping[str, str] | None = None, attend: Attend | None = None,
) -> Run:  # fmt: skip
    """With its storage at `url`; `folder` is that of its code. Closes the view."""
    taken = take(mapped.job, url, fresh=fresh)
    gang = Gang(mapped, taken, url, folder, env or {})
    runner = Runner(gang, view, interrupts)
    if attend:
        runner.attend, runner.ask_every = attend, ASK_EVERY
    try:
        ended = runner.run()
    finally:
        view.close()
        gang.close(keep_logs=False)
    storage = scoped(job_storage(mapped.job, url), taken.run)
    return Run(ended, read_records(storage), taken.now(mapped.job, url), storage)
