"""When a rank's steps are recorded, by the job file or because somebody asks, and how that is told.

Recording changes no number. Each rank records for itself and waits for nobody; what was found is written in a thread.
"""

import contextlib
import logging
import threading
import time
from contextlib import AbstractContextManager, nullcontext
from typing import Any, Final

from torch.profiler import record_function

from ktrain.request import profile_key
from ktrain.snapshot import Snapshot
from ktrain.spec import Profile
from ktrain.storage import Storage
from ktrain.units import counted
from ktrain_trainer.journal import Journal
from ktrain_trainer.length import passed
from ktrain_trainer.progress import Progress
from ktrain_trainer.recording import SPAN, Recorder, Recording
from ktrain_trainer.stop import StopFlag
from ktrain_trainer.world import World

log = logging.getLogger("ktrain")

WRITE_SECONDS: Final = 60.0  # a run that has ended waits no longer for what was found
HURRY_SECONDS: Final = 2.0  # nor does one that was told to go
MOST_TIMES: Final = 2  # that one begins again because of an evaluation
_IDLE: Final = nullcontext()

Counts = tuple[int, int, float]  # steps, samples, tokens


class Profiler:
    """One per rank; costs a step without a recording a few comparisons."""

    def __init__(
        self, spec: Profile, world: World, storage: Storage | None, journal: Journal, snapshot: Snapshot, stop: StopFlag
    ) -> None:
        self._spec, self._world, self._storage = spec, world, storage
        self._journal, self._snapshot, self._stop = journal, snapshot, stop
        self._is_due = False
        self._begun_again = 0
        self._recorder: Recorder | None = None
        self._writer: threading.Thread | None = None
        self._told: list[tuple[int, dict[str, Any]]] = []  # by the writer, for the journal

    def span(self, name: str) -> AbstractContextManager[Any]:
        """Names a part of the step in the trace."""
        return record_function(SPAN + name) if self._recorder else _IDLE

    def begin(self) -> None:
        """Before a step: starts, when it is time or was asked for and nothing is recorded or written yet."""
        if not (self._stop.wants_profile or self._is_due) or self._recorder or self._is_writing:
            return
        self._stop.wants_profile = self._is_due = False
        if self._storage is None:
            log.warning("no profile is taken: the run keeps nothing, so there is no place for it")
            return
        try:
            self._recorder = Recorder(self._spec, self._world.device)
        except Exception as error:  # noqa: BLE001  -- whatever a profiler meets, the run goes on
            self._failed(f"cannot be taken: {error}")

    def end(self, before: Counts, progress: Progress, num_samples: int) -> None:
        """After the step that led from `before` to `progress`."""
        is_mine = self._spec.ranks == "all" or self._world.is_first
        if is_mine and self._spec.at and _has_come(self._spec.at, before, progress, num_samples):
            self._is_due = True
        if self._recorder:
            self._recorder.step()
            if self._recorder.is_complete:
                self._finish(progress.step)
        self._tell()

    def rest(self, progress: Progress) -> None:
        """What comes next is no step: a recording ends here with what it has, or is begun anew afterwards."""
        if self._recorder and self._recorder.steps > 0:
            self._finish(progress.step)
        elif self._recorder:
            self.drop()
            self._begun_again += 1
            self._is_due = self._begun_again <= MOST_TIMES
            if not self._is_due:
                self._failed("cannot be taken: there is an evaluation after every step or two")

    def close(self, *, hurry: bool) -> None:
        """Drops what is half done, and waits for what is being written, not for long."""
        if self._recorder:
            self.drop()
            log.warning("training ended before a profile had its %d steps; it is not kept", self._spec.steps)
        if self._writer:
            self._writer.join(HURRY_SECONDS if hurry else WRITE_SECONDS)
        self._tell()

    def drop(self) -> None:
        """Records no more, and forgets what was recorded; also when training has failed."""
        recorder, self._recorder = self._recorder, None
        if recorder:
            with contextlib.suppress(Exception):  # nothing of it is wanted
                recorder.drop()

    @property
    def _is_writing(self) -> bool:
        return self._writer is not None and self._writer.is_alive()

    def _finish(self, step: int) -> None:
        assert self._recorder
        recorder, self._recorder, self._begun_again = self._recorder, None, 0
        try:
            recording = recorder.stop()
        except Exception as error:  # noqa: BLE001  -- as above
            self._failed(f"of {counted(recorder.steps, 'step')} until {step} is not kept: {error}")
            return
        self._writer = threading.Thread(target=self._write, args=(recording, step), name="profile", daemon=True)
        self._writer.start()

    def _write(self, recording: Recording, step: int) -> None:
        assert self._storage
        begun = time.monotonic()
        key = profile_key(step, self._world.rank)
        try:
            size = recording.keep(self._storage, key)
        except Exception as error:  # noqa: BLE001  -- somebody waits for the outcome
            self._failed(f"of {counted(recording.steps, 'step')} until {step} is not kept: {error}")
            return
        self._snapshot.profile_step = step
        self._snapshot.profiles += 1
        if not self._world.is_first:  # whose journal is nobody's
            log.warning("the profile of rank %d is %s/%s.*", self._world.rank, self._storage.url, key)
        spans, seconds = recording.spans(), time.monotonic() - begun
        told = {"steps": recording.steps, "spans": spans, "key": key, "size_bytes": size, "seconds": seconds}
        self._told.append((step, told))

    def _failed(self, what: str) -> None:
        self._snapshot.profile_failures += 1
        log.warning("the profile %s", what)
        log.debug("why", exc_info=True)

    def _tell(self) -> None:
        """Of what was written, in the loop's thread: the journal has no other."""
        while self._told:
            step, told = self._told.pop()
            self._journal.write("profile", Progress(step=step), **told)


def _has_come(at: Any, before: Counts, now: Progress, num_samples: int) -> bool:
    """Whether the first multiple of `at` lies in this step."""
    origin = (0, 0, 0.0)
    return passed(at, before, now, num_samples=num_samples) and not passed(
        at, origin, Progress(step=before[0], samples=before[1], tokens=before[2]), num_samples=num_samples
    )
