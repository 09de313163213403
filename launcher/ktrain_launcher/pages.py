"""What the pod's one HTTP server answers: /metrics, /healthz, /status."""

import json
import math
import time
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from ktrain.serve import Page
from ktrain_launcher.board import Board
from ktrain_launcher.metrics import Collector, Identity
from ktrain_launcher.tally import Tally

SILENT_SECONDS: Final = 60.0
"""A launcher whose agent has not come round for so long is not healthy; parked ones do come round."""


@dataclass(frozen=True, slots=True)
class Pages:
    """What the server answers, by path: status, content type, body."""

    identity: Identity
    board: Board
    tally: Tally

    def healthz(self) -> tuple[int, str, bytes]:
        """Whether the launcher itself is alive; what the ranks do is for /metrics."""
        if self.tally.age > SILENT_SECONDS:
            return HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", f"silent for {self.tally.age:.0f} s\n".encode()
        return HTTPStatus.OK, "text/plain", b"ok\n"

    @property
    def routes(self) -> dict[str, Page]:
        """By path."""
        return {"/metrics": self.metrics, "/healthz": self.healthz, "/status": self.status}

    def metrics(self) -> tuple[int, str, bytes]:
        """Prometheus text."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(Collector(self.identity, self.board, self.tally))
        return HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(registry)

    def status(self) -> tuple[int, str, bytes]:
        """JSON for `ktrain run` and `ktrain status`."""
        document = {
            "node_rank": self.identity.node_rank,
            "attempt": self.identity.attempt,
            "epoch": self.tally.epoch,
            "run": self.tally.run,
            "state": self.tally.state,
            "restarts": sum(self.tally.restarts.values()),
            "world_size": self.tally.world_size,
            "now": time.time(),  # whoever reads the times below may have another clock
            "hang_limit": self.tally.hang_limit,
            "note": self.tally.note,
            "answer": self.tally.answer,
            "ranks": self.board.as_documents(),
            "account": json.loads(ledger.account().encode()) if (ledger := self.tally.ledger) else None,
            "pace": self.tally.pace,  # of the whole gang, from node 0's launcher
        }
        return HTTPStatus.OK, "application/json", json.dumps(_finite(document)).encode()


def _finite(value: Any) -> Any:
    """JSON has no NaN: null instead."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list) else value
