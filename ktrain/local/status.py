"""What the launchers say of themselves, merged into one picture of the job."""

import json
import urllib.error
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Picture:
    """The job, now."""

    states: tuple[str, ...] = ()  # of the launchers
    ranks: tuple[dict[str, Any], ...] = ()
    restarts: int = 0
    epoch: int = 0

    @property
    def first(self) -> dict[str, Any]:
        """Rank 0's snapshot; empty before it has spoken."""
        return next((rank for rank in self.ranks if rank.get("rank") == 0 and "step" in rank), {})

    @property
    def state(self) -> str:
        """What the job is doing, in a word."""
        for word in ("failed", "stopping", "running", "rendezvous"):
            if word in self.states:
                return word
        return self.states[0] if self.states else "starting"


@dataclass
class Asker:
    """Asks the launchers' /status; remembers nothing but the last answers."""

    ports: Sequence[int]
    _opener: urllib.request.OpenerDirector = field(
        default_factory=lambda: urllib.request.build_opener(urllib.request.ProxyHandler({}))
    )

    def ask(self) -> Picture:
        """The picture of now; launchers that do not answer are left out."""
        answers = [answer for port in self.ports if (answer := self._one(port))]
        ranks = sorted((rank for answer in answers for rank in answer.get("ranks", ())), key=lambda rank: rank["rank"])
        return Picture(
            tuple(answer["state"] for answer in answers),
            tuple(ranks),
            max((answer["restarts"] for answer in answers), default=0),
            max((answer["epoch"] for answer in answers), default=0),
        )

    def _one(self, port: int) -> dict[str, Any] | None:
        try:
            with self._opener.open(f"http://127.0.0.1:{port}/status", timeout=1) as reply:
                answer: dict[str, Any] = json.load(reply)
                return answer
        except (OSError, urllib.error.URLError, ValueError):
            return None
