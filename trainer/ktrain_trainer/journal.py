"""What rank 0 writes down about the run, as records to its sinks."""

import logging
import time
from collections.abc import Mapping, Sequence
from typing import Any

from ktrain.history import Token
from ktrain_trainer.progress import Progress
from ktrain_trainer.sinks import Sink

log = logging.getLogger("ktrain")


class Journal:
    """Records of a training run; on ranks other than 0 it has no sinks and costs nothing."""

    def __init__(self, sinks: Sequence[Sink], token: Token) -> None:
        self._sinks = sinks
        self._token = token

    def write(self, kind: str, progress: Progress, **fields: Any) -> None:
        """One record, stamped with where the run is."""
        record: Mapping[str, Any] = {
            "kind": kind,
            "time": time.time(),
            "attempt": self._token.attempt,
            "epoch": self._token.epoch,
            "step": progress.step,
            "samples": progress.samples,
            "tokens": progress.tokens,
            **fields,
        }
        for sink in self._sinks:
            sink.write(record)
        if self._sinks and kind != "step":
            log.info("%s step=%d %s", kind, progress.step, _brief(fields))

    def close(self) -> None:
        """Writes out what is still waiting."""
        for sink in self._sinks:
            sink.close()


def _brief(fields: Mapping[str, Any]) -> str:
    flat = {**fields, **fields.get("values", {})}
    shown = (
        (name, value) for name, value in flat.items() if isinstance(value, str | int | float) and value is not None
    )
    return " ".join(f"{name}={value:.6g}" if isinstance(value, float) else f"{name}={value}" for name, value in shown)
