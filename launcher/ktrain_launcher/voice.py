"""The launcher's own log lines: one an event, fields not prose."""

import json
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, TextIO

Say = Callable[..., None]
_PLAIN: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:@+,")


class Voice:
    """Writes `time=… job=… node=… event=… key=value` lines; safe from any thread."""

    def __init__(self, job: str, node: int, *, stream: TextIO | None = None) -> None:
        self._head = f"job={job} node={node}"
        self._stream = stream or sys.stderr
        self._lock = threading.Lock()

    def __call__(self, event: str, **fields: object) -> None:
        """One line; a reader that has gone must not stop the job."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        rest = "".join(f" {name}={_text(value)}" for name, value in fields.items() if value is not None)
        with self._lock:
            try:
                self._stream.write(f"time={now} {self._head} event={event}{rest}\n")
                self._stream.flush()
            except (OSError, ValueError):
                pass


def _text(value: object) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return text if text and set(text) <= _PLAIN else json.dumps(text, ensure_ascii=False)
