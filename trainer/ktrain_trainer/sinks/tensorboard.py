"""TensorBoard event files in the run's tensorboard/ folder, continued after a restart without double points."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ktrain_trainer.sinks.base import scalars
from ktrain_trainer.sinks.mirror import Mirror


class TensorBoard:
    """Opens with the start record: its restored_step purges what earlier epochs wrote after it."""

    def __init__(self, folder: Path, mirror: Mirror | None = None) -> None:
        self._folder = folder
        self._mirror = mirror  # when the folder is not where the run is kept
        self._writer: Any = None

    def write(self, record: Mapping[str, Any]) -> None:
        """Scalars of steps and evaluations; the start opens the files."""
        kind, step = record["kind"], record["step"]
        if kind == "start":
            self._open(record.get("restored_step", 0))
        elif self._writer is None:
            return
        else:
            for name, value in scalars(record).items():
                self._writer.add_scalar(name, value, step)
            if kind in {"eval", "checkpoint"}:
                self.flush()

    def flush(self) -> None:
        """To the files."""
        if self._writer is not None:
            self._writer.flush()
            if self._mirror:
                self._mirror.sync()

    def close(self) -> None:
        """To the files, and no more."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
        if self._mirror:
            self._mirror.close()

    def _open(self, restored_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        if self._writer is not None:  # a script that restores has begun twice
            self._writer.close()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._writer = SummaryWriter(str(self._folder), purge_step=restored_step + 1)
