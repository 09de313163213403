"""What this launcher has counted about itself since it began."""

import threading
import time
from collections import Counter
from typing import Any, Literal, get_args

from ktrain_launcher.ledger import Ledger

State = Literal["preflight", "rendezvous", "running", "stopping", "held", "done", "failed"]
STATES: tuple[State, ...] = get_args(State)


class Tally:
    """Written by the agent, read by the HTTP server."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._restarts: Counter[str] = Counter()
        self._exits: Counter[int] = Counter()
        self.rendezvous_count = 0
        self.rendezvous_seconds = 0.0
        self.state: State = "preflight"
        self.epoch = 0
        self.run = ""
        self.world_size = 0
        self.hang_limit: float | None = None  # seconds that a rank may stand still now
        self.note = ""  # what is waited for
        self.pace: list[dict[str, Any]] = []  # of all ranks of the job, on node 0
        self.ledger: Ledger | None = None  # on node 0
        self.answer: dict[str, Any] | None = None  # to the newest request
        self._ticked = time.monotonic()

    def tick(self) -> None:
        """The agent is alive."""
        self._ticked = time.monotonic()

    def take_note(self, text: str) -> None:
        """What is waited for, a sentence; empty for nothing."""
        self.note = text

    @property
    def age(self) -> float:
        """Seconds since the agent last showed that it is alive."""
        return time.monotonic() - self._ticked

    def restarted(self, cause: str) -> None:
        """New ranks in this pod."""
        with self._lock:
            self._restarts[cause] += 1

    def exited(self, code: int) -> None:
        """A rank has left."""
        with self._lock:
            self._exits[code] += 1

    def met(self, seconds: float) -> None:
        """A rendezvous is complete."""
        with self._lock:
            self.rendezvous_count += 1
            self.rendezvous_seconds += seconds

    @property
    def restarts(self) -> dict[str, int]:
        """By cause."""
        with self._lock:
            return dict(self._restarts)

    @property
    def exits(self) -> dict[int, int]:
        """By code."""
        with self._lock:
            return dict(self._exits)
