"""A program's own log lines: one an event, fields not prose."""

import json
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final, TextIO

Say = Callable[..., None]
_PLAIN: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./:@+,")


class Voice:
    """Writes `time=… job=… node=… event=… key=value` lines, what is given here in each; safe from any thread."""

    def __init__(self, *, stream: TextIO | None = None, **always: object) -> None:
        self._always = _fields(always)
        self._stream = stream or sys.stderr
        self._lock = threading.Lock()

    def __call__(self, event: str, **fields: object) -> None:
        """One line; a reader that has gone must not stop the program."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3] + "Z"
        with self._lock:
            try:
                self._stream.write(f"time={now}{self._always} event={event}{_fields(fields)}\n")
                self._stream.flush()
            except (OSError, ValueError):
                return


def _fields(values: dict[str, object]) -> str:
    return "".join(f" {name}={_text(value)}" for name, value in values.items() if value is not None)


def _text(value: object) -> str:
    text = f"{value:.3f}" if isinstance(value, float) else str(value)
    return text if text and set(text) <= _PLAIN else json.dumps(text, ensure_ascii=False)
