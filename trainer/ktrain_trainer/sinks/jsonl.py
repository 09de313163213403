"""JSON lines in storage, as segments below metrics/<epoch of the gang>/.

Segments are never rewritten and each epoch has its own, so a zombie cannot harm them and nothing has to be truncated
after a restart: readers drop what a later epoch did again (ktrain.records).
"""

import json
import logging
import queue
import threading
import time
from collections.abc import Mapping
from typing import Any, Final

from ktrain import names
from ktrain.errors import StorageError
from ktrain.history import Token
from ktrain.storage import Storage

log = logging.getLogger("ktrain")

ROLL_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 30.0
_AT_ONCE: Final = frozenset({"start", "eval", "checkpoint", "stop", "end", "error"})


class JsonLines:
    """Collects lines and hands them to a thread of its own, segment by segment."""

    def __init__(self, storage: Storage, token: Token) -> None:
        self._storage = storage
        self._prefix = f"{names.DIR_METRICS}/{token.prefix}"
        self._lines: list[str] = []
        self._rolled_at = time.monotonic()
        self._segments: queue.Queue[bytes | None] = queue.Queue()
        self._told = False
        self._thread = threading.Thread(target=self._upload, name="ktrain-jsonl", daemon=True)
        self._thread.start()

    def write(self, record: Mapping[str, Any]) -> None:
        """A line; a new segment every ten seconds, and at once after what people wait for."""
        self._lines.append(json.dumps(record, separators=(",", ":"), default=str))
        if record["kind"] in _AT_ONCE or time.monotonic() - self._rolled_at >= ROLL_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Ends the segment."""
        self._rolled_at = time.monotonic()
        if self._lines:
            self._segments.put(("\n".join(self._lines) + "\n").encode())
            self._lines = []

    def close(self) -> None:
        """Waits for the last segment, but not for ever: metrics are not worth a pod's grace period."""
        self.flush()
        self._segments.put(None)
        self._thread.join(CLOSE_SECONDS)

    def _upload(self) -> None:
        for number in range(1, 1_000_000):
            segment = self._segments.get()
            if segment is None:
                return
            try:
                self._storage.put(f"{self._prefix}/{number:06d}.jsonl", segment)
            except StorageError as error:
                if not self._told:
                    self._told = True
                    log.warning("metrics are not kept for now: %s", error)
