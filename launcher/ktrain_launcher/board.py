"""The ranks of this pod as they said last: who runs, what they report, how old that is."""

import contextlib
import os
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from ktrain.snapshot import MAX_BYTES, Snapshot

MAX_SOCKET_PATH: Final = 100  # macOS allows 104 bytes, Linux 108


@dataclass(frozen=True, slots=True)
class Rank:
    """One rank of the current epoch."""

    rank: int
    local_rank: int
    pid: int
    started: float  # monotonic
    snapshot: Snapshot | None = None
    seen: float = 0.0  # monotonic, of the snapshot
    exit_code: int | None = None

    @property
    def is_alive(self) -> bool:
        """Whether its process runs."""
        return self.exit_code is None


class Board:
    """Shared by the agent, which says who runs, the inbox, which brings snapshots, and the HTTP server."""

    def __init__(self, on_snapshot: Callable[[Snapshot, float], None] = lambda _snapshot, _now: None) -> None:
        self._ranks: dict[int, Rank] = {}
        self._lock = threading.Lock()
        self._on_snapshot = on_snapshot
        self.rejected = 0

    def begin(self, ranks: Sequence[Rank]) -> None:
        """New ranks; nothing of the old ones is left."""
        with self._lock:
            self._ranks = {rank.rank: rank for rank in ranks}

    def receive(self, data: bytes) -> None:
        """One datagram; whatever is no snapshot of a rank of ours is counted and dropped."""
        now = time.monotonic()
        try:
            snapshot = _checked(Snapshot.decode(data))
        except (ValueError, TypeError, RecursionError):
            self.reject()
            return
        with self._lock:
            rank = self._ranks.get(snapshot.rank)
            if rank is not None and rank.is_alive:
                self._ranks[snapshot.rank] = replace(rank, snapshot=snapshot, seen=now)
        if rank is None:
            self.reject()
        else:
            self._on_snapshot(snapshot, now)

    def reject(self) -> None:
        """Counts one datagram that was no use."""
        with self._lock:
            self.rejected += 1

    def end(self, rank: int, code: int) -> None:
        """This rank has left."""
        with self._lock:
            self._ranks[rank] = replace(self._ranks[rank], exit_code=code)

    def ranks(self) -> list[Rank]:
        """All of them, by rank."""
        with self._lock:
            return [self._ranks[rank] for rank in sorted(self._ranks)]

    def snapshots(self) -> dict[int, Snapshot]:
        """Of those that have said anything."""
        return {rank.rank: rank.snapshot for rank in self.ranks() if rank.snapshot}

    def as_documents(self) -> list[dict[str, Any]]:
        """For /status."""
        now = time.monotonic()
        return [
            (asdict(rank.snapshot) if rank.snapshot else {"rank": rank.rank, "local_rank": rank.local_rank})
            | {
                "pid": rank.pid,
                "alive": rank.is_alive,
                "age_seconds": round(now - rank.seen, 3) if rank.snapshot else None,
                "exit_code": rank.exit_code,
            }
            for rank in self.ranks()
        ]


class Inbox:
    """The socket that ranks push to, a new one in each epoch, so that no word of a dead rank is heard later."""

    def __init__(self, folder: Path, board: Board) -> None:
        self._folder = folder
        self.path = _socket_path(folder)
        self._board = board
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(self.path))
        self._socket.settimeout(0.5)
        self._is_open = True
        self._thread = threading.Thread(target=self._run, name="inbox", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Hears nothing more; once is enough."""
        if not self._is_open:
            return
        self._is_open = False
        with contextlib.suppress(OSError):  # wakes the thread at once
            self._socket.sendto(b"", str(self.path))
        self._thread.join()
        self._socket.close()
        self.path.unlink(missing_ok=True)
        if self.path.parent != self._folder:
            self.path.parent.rmdir()

    def _run(self) -> None:
        while self._is_open:
            try:
                data = self._socket.recv(2 * MAX_BYTES)
            except TimeoutError:
                continue
            except OSError:
                return
            if self._is_open:
                self._board.receive(data)


def _socket_path(folder: Path) -> Path:
    """In the scratch folder, or in a short temporary one where that name is too long for a socket."""
    name = f"s{os.getpid()}-{time.monotonic_ns() % 10**9}.sock"
    path = folder / name
    return path if len(os.fsencode(path)) <= MAX_SOCKET_PATH else Path(tempfile.mkdtemp(prefix="ktrain-")) / name


def _checked(snapshot: Snapshot) -> Snapshot:
    """Refuses fields of wrong types: what we serve must never break a scrape."""
    for name, value in asdict(snapshot).items():
        if not _FITS.get(name, _is_number)(value):
            raise ValueError(f"{name} is {value!r}")
    return snapshot


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_number_or_none(value: object) -> bool:
    return value is None or _is_number(value)


def _is_counts(value: object) -> bool:
    return isinstance(value, list) and all(_is_number(count) for count in value) and len(value) == _NUM_COUNTS


def _is_metrics(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(k, str) and _is_number(v) for k, v in value.items())


_NUM_COUNTS: Final = len(Snapshot(0, 0, 0, 0).step_counts)
_FITS: Final[dict[str, Callable[[object], bool]]] = {
    "phase": lambda value: isinstance(value, str),
    "loss": _is_number_or_none,
    "lr": _is_number_or_none,
    "grad_norm": _is_number_or_none,
    "step_counts": _is_counts,
    "metrics": _is_metrics,
    "phase_seconds": _is_metrics,
}
