"""TensorBoard event files in the run's tensorboard/ folder, continued after a restart without double points."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

_SCALARS: Final = ("loss", "lr", "grad_norm", "samples_per_second", "tokens_per_second", "step_seconds", "data_seconds")


class TensorBoard:
    """Opens with the start record: its restored_step purges what earlier epochs wrote after it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._writer: Any = None

    def write(self, record: Mapping[str, Any]) -> None:
        """Scalars of steps and evaluations; the start opens the files."""
        kind, step = record["kind"], record["step"]
        if kind == "start":
            self._open(record.get("restored_step", 0))
        elif self._writer is None:
            return
        elif kind == "step":
            self._add({f"train/{name}": record.get(name) for name in _SCALARS}, step)
        elif kind == "eval":
            self._add(record["values"], step)
            self.flush()

    def flush(self) -> None:
        """To the files."""
        if self._writer is not None:
            self._writer.flush()

    def close(self) -> None:
        """To the files, and no more."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _open(self, restored_step: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.close()
        self._folder.mkdir(parents=True, exist_ok=True)
        self._writer = SummaryWriter(str(self._folder), purge_step=restored_step + 1)

    def _add(self, values: Mapping[str, Any], step: int) -> None:
        for name, value in values.items():
            if value is not None:
                self._writer.add_scalar(name, value, step)
