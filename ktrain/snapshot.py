"""What a rank tells its launcher about itself: one small datagram, whole or not at all.

A killed rank cannot corrupt the pod's scrape: a datagram arrives complete or never, and the launcher keeps the last one.
"""

import json
import socket
from dataclasses import asdict, dataclass, field
from typing import Final, Literal

MAX_BYTES: Final = 2000  # macOS's default limit of a local datagram is 2048
STEP_BUCKETS: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
"""Upper bounds in seconds of the step-time histogram."""

Phase = Literal["start", "restore", "data", "train", "eval", "checkpoint", "stop", "done"]


@dataclass(slots=True)
class Snapshot:
    """One rank, now. Times are Unix seconds, lengths of time are seconds."""

    rank: int
    local_rank: int
    world_size: int
    pid: int
    phase: Phase = "start"
    step: int = 0
    total_steps: float = 0  # estimated; 0 when unknown
    samples: int = 0
    tokens: float = 0
    epoch: float = 0  # of the data
    progress: float = 0  # 0 to 1
    eta_seconds: float = -1  # -1 when unknown
    loss: float | None = None
    lr: float | None = None
    grad_norm: float | None = None
    samples_per_second: float = 0
    tokens_per_second: float = 0
    step_seconds_sum: float = 0
    step_counts: list[int] = field(default_factory=lambda: [0] * (len(STEP_BUCKETS) + 1))  # not cumulative
    data_wait_seconds: float = 0
    peer_wait_seconds: float = 0  # sum, as the host sees it
    last_step_at: float = 0
    restored_step: int = 0
    checkpoint_step: int = -1  # newest commit, -1 when none
    checkpoint_at: float = 0
    checkpoint_stall_seconds: float = 0  # sum
    checkpoint_seconds: float = 0  # sum, until durable
    checkpoint_interval_seconds: float = 0  # as the run has decided it, 0 where the job file says it
    checkpoints: int = 0
    checkpoint_failures: int = 0
    nonfinite_steps: int = 0
    samples_skipped: int = 0  # on all ranks, as of the newest log step
    profiles: int = 0  # written
    profile_failures: int = 0
    profile_step: int = -1  # where the newest one ended, -1 when none
    memory_bytes: int = 0
    began_at: float = 0  # when its process began to count
    phase_seconds: dict[str, float] = field(default_factory=dict)  # since then, by phase: all of the time
    committed_seconds: float = 0  # of training, without waits for data, that the newest commit holds
    metrics: dict[str, float] = field(default_factory=dict)  # newest evaluation, by name such as val/loss

    def encode(self) -> bytes:
        """The datagram; drops metrics from the end when there are more than fit."""
        document = asdict(self)
        data = json.dumps(document, separators=(",", ":")).encode()
        while len(data) > MAX_BYTES:
            document["metrics"].popitem()
            data = json.dumps(document, separators=(",", ":")).encode()
        return data

    @classmethod
    def decode(cls, data: bytes) -> "Snapshot":
        """Reads a datagram of this version or a newer one; raises ValueError."""
        document = json.loads(data)
        if not isinstance(document, dict):
            raise TypeError("a snapshot is a JSON object")
        return cls(**{name: value for name, value in document.items() if name in cls.__dataclass_fields__})


class Sender:
    """Pushes snapshots to the launcher's socket and never waits for it."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)

    def send(self, snapshot: Snapshot) -> bool:
        """Whether it was handed over; a launcher that is gone or busy must never stop a step."""
        try:
            self._socket.sendto(snapshot.encode(), self._path)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Frees the socket."""
        self._socket.close()
