"""Asks the launchers of `ktrain run` how they are."""

import http.client
import json
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ktrain.picture import Picture, merge


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
        return merge(answers)

    def _one(self, port: int) -> dict[str, Any] | None:
        try:
            with self._opener.open(f"http://127.0.0.1:{port}/status", timeout=1) as reply:
                answer: dict[str, Any] = json.load(reply)
                return answer
        except (OSError, http.client.HTTPException, ValueError):
            return None
