"""Runs a job with a rising learning rate, in a run of its own that is thrown away."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ktrain.errors import KtrainError
from ktrain.history import job_storage
from ktrain.load import Loaded, load_job
from ktrain.local.gang import Gang
from ktrain.local.mapping import Mapped
from ktrain.local.run import Interrupts, Runner
from ktrain.local.view import View
from ktrain.names import CliExit, Exit
from ktrain.picture import Picture
from ktrain.records import read_records
from ktrain.storage import scoped
from ktrain.taken import take
from ktrain.tune.sweep import SMOOTH, Sweep, Watch, analyse, gamma


@dataclass(frozen=True, slots=True)
class Range:
    """From which rate to which, in how many steps."""

    begin: float
    end: float
    steps: int

    def rate(self, step: int) -> float:
        """Of the step that begins when so many are done."""
        return self.begin * gamma(self.begin, self.end, self.steps) ** step


def sets(swept: Range, folder: str) -> list[str]:
    """What makes a job a sweep: its storage is a folder that goes, and nothing is evaluated."""
    # A division of the data stays: the rate is that of the part that the job trains on.
    factor = gamma(swept.begin, swept.end, swept.steps)
    schedule = f'{{use: "torch.optim.lr_scheduler:ExponentialLR", args: {{gamma: {factor!r}}}}}'
    return [
        f"storage={{url: {folder}}}", f"trainer.duration={swept.steps}step", f"trainer.optim.lr={swept.begin!r}",
        f"trainer.schedule={schedule}", "trainer.log.every=1step", "trainer.nonfinite=stop", "restart.max=0",
        "trainer.checkpoint={every: 1000000000step}", "tune=",
        *(f"trainer.{key}=" for key in ("earlyStop", "track", "data.val")), "trainer.eval={maxSamples: 0}",
    ]  # fmt: skip


@dataclass
class Watching:
    """Passes on what it sees, and asks the run to end when the loss has broken away."""

    view: View
    interrupts: Interrupts
    watch: Watch
    has_broken_away: bool = False
    _step: int = -1

    def output(self, line: str) -> None:
        """A line of a rank's."""
        self.view.output(line)

    def event(self, text: str) -> None:
        """Something happened."""
        self.view.event(text)

    def update(self, picture: Picture) -> None:
        """Each step at most once, and not each is seen: what is missed here is found in the records."""
        self.view.update(picture)
        step, loss = picture.first.get("step", -1), picture.first.get("loss")
        if loss is None or step == self._step or self.has_broken_away:
            return
        self._step = step
        _, self.has_broken_away = self.watch(loss)
        if self.has_broken_away:
            self.view.event(f"the loss breaks away at step {step}: stopping")
            self.interrupts.count += 1

    def close(self) -> None:
        """No more."""
        self.view.close()


@dataclass(frozen=True, slots=True)
class Found:
    """The sweep, and whether somebody interrupted it."""

    sweep: Sweep
    is_interrupted: bool = False
    cause: dict[str, object] = field(default_factory=dict)


def load_sweep(job: Path, own: Sequence[str], swept: Range, folder: str) -> Loaded:
    """The job as a sweep; SpecError."""
    return load_job(job, [*own, *sets(swept, folder)])


def run_sweep(loaded: Loaded, mapped: Mapped, swept: Range, view: View, *, smooth: float = SMOOTH) -> Found:
    """Trains until the last rate, or until the loss breaks away; KtrainError when the job itself fails."""
    taken = take(mapped.job, loaded.storage_url, fresh=True)
    interrupts = Interrupts()
    gang = Gang(mapped, taken, loaded.storage_url, loaded.folder)
    watching = Watching(view, interrupts, Watch(smooth))
    try:
        ended = Runner(gang, watching, interrupts).run()
    finally:
        watching.close()
        gang.close(keep_logs=False)
        interrupts.restore()
    records = read_records(scoped(job_storage(mapped.job, loaded.storage_url), taken.run)).of("step")
    has_failed = ended.code is CliExit.JOB_FAILED
    if has_failed and ended.cause.get("code") != Exit.NONFINITE:
        raise KtrainError(f"the sweep failed: {ended.cause.get('message') or ended.cause.get('cause') or 'unknown'}")
    failed_at = swept.rate(records[-1]["step"] if records else 0) if has_failed else None
    is_interrupted = interrupts.first is not None
    return Found(analyse(records, smooth=smooth, failed_at=failed_at), is_interrupted, ended.cause)


def scratch() -> "tempfile.TemporaryDirectory[str]":
    """Where the run of a sweep lives."""
    return tempfile.TemporaryDirectory(prefix="ktrain-lr-find-")
