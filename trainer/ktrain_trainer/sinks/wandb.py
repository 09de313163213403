"""A run of Weights & Biases, offline unless told otherwise; a restart goes on with the same run.

Its id is the run's own, so every restart knows it. W&B takes no step twice: the trainer's step is a metric of its own, by which
all others are drawn, and of a step that was done again both points are there, the later with the higher ktrain/epoch.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from ktrain.spec.track import Track
from ktrain_trainer.sinks.base import Record, scalars
from ktrain_trainer.sinks.facts import Facts
from ktrain_trainer.sinks.mirror import Mirror

STEP: Final = "ktrain/step"
EPOCH: Final = "ktrain/epoch"
_SETTINGS: Final = {"WANDB_ERROR_REPORTING": "false"}  # of its own mistakes, to its makers


class WandbRun:
    """Talks to W&B's own process; called by one thread."""

    name = "wandb"

    def __init__(self, track: Track, facts: Facts, folder: Path, mirror: Mirror | None = None) -> None:
        """folder: wandb/ is made in it; mirror: copies that to where the run is kept."""
        for name, value in _SETTINGS.items():
            os.environ.setdefault(name, value)
        import wandb

        self._wandb = wandb
        self._track, self._facts, self._folder, self._mirror = track, facts, folder, mirror
        self._run: Any = None
        self._has_ended = False

    def send(self, records: Sequence[Record]) -> None:
        """Numbers of steps and evaluations; the start begins or resumes the run."""
        for record in records:
            if record["kind"] == "start" and self._run is None:
                self._run = self._begin()
            if record.get("restored_step"):
                self._run.summary[f"ktrain/restart/a{record['attempt']}-e{record['epoch']}"] = record["restored_step"]
            if values := scalars(record):
                self._run.log({**values, STEP: record["step"], EPOCH: record.get("epoch", 0)})
            self._has_ended = record["kind"] in {"end", "stop"}
        if self._mirror and any(record["kind"] in {"start", "eval", "checkpoint"} for record in records):
            self._mirror.sync()

    def close(self) -> None:
        """Writes everything out; a run without an end or a stop has failed."""
        try:
            if self._run is not None:
                self._run.finish(exit_code=0 if self._has_ended else 1)
                self._wandb.teardown()  # finish() returns before its process has written the last of the file
        finally:
            if self._mirror:
                self._mirror.close()

    def _begin(self) -> Any:
        track, facts = self._track, self._facts
        self._folder.mkdir(parents=True, exist_ok=True)  # else it writes to the temporary folder, with a warning
        is_online = track.mode == "online"
        run = self._wandb.init(
            dir=str(self._folder), id=facts.run or None, resume="allow" if is_online else None,
            mode="online" if is_online else "offline", project=track.project or facts.job or None, entity=track.entity,
            name=track.name or facts.job or None, tags=list(track.tags), notes=track.notes, config=dict(facts.params),
            allow_val_change=True, save_code=False,
            settings=self._wandb.Settings(console="off", silent=True, disable_git=True, disable_code=True),
        )  # fmt: skip
        run.define_metric(STEP)
        run.define_metric("*", step_metric=STEP)
        return run
