"""What a launcher leaves behind: a record of each epoch, its verdict in storage, and the pod's termination message."""

import dataclasses
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ktrain import names
from ktrain.errors import NotFound, StorageError
from ktrain.history import Token
from ktrain.storage import Storage
from ktrain.voice import Say
from ktrain_launcher.exits import cause_of

MAX_TERMINATION_BYTES: Final = 4096
MAX_MESSAGE: Final = 2000


@dataclass(frozen=True, slots=True)
class Outcome:
    """How this launcher ends."""

    code: int
    message: str = ""
    rank: int | None = None  # the first that failed
    step: int | None = None
    checkpoint: int | None = None  # step of the last commit that a rank told us of
    epoch: str = ""  # the last one that this launcher was part of

    @property
    def cause(self) -> str:
        """One word of exits.CAUSES."""
        return cause_of(self.code)


class Journal:
    """Writes to the run's storage; a storage that fails costs a line in the log, never the job."""

    def __init__(self, storage: Storage, say: Say) -> None:
        self._storage = storage
        self._say = say

    def epoch(self, token: Token, *, started: float, end: Mapping[str, Any] | None = None) -> None:
        """Node 0's record of an epoch: once at its start, once more at its end."""
        self._put(f"{names.DIR_EPOCHS}/{token.prefix}.json", _record(token, started, end or {}))

    def failed(self, token: Token, node: int, outcome: Outcome, *, started: float, at: float) -> None:
        """A launcher that failed before it had an epoch: beside the one that was not to be, and counted like one."""
        told = dataclasses.replace(outcome, message=f"node {node}: {outcome.message}")
        key = f"{names.DIR_EPOCHS}/{token.prefix}-node{node}-{int(at * 1e6)}.json"
        self._put(key, _record(token, started, _end(told, at=at, counted=True)))

    def given_up(self, token: Token, outcome: Outcome, *, at: float) -> None:
        """The job ended before this epoch, and what failed until then counts no more."""
        key = f"{names.DIR_EPOCHS}/{token.prefix}-{outcome.cause}.json"
        self._put(key, _record(token, at, _end(outcome, at=at, counted=False)))

    def verdict(self, token: Token, node: int, outcome: Outcome, last_lines: Mapping[int, list[str]]) -> None:
        """Why this launcher ended, with the last lines of its ranks: the pod and its log may be gone soon."""
        key = f"{names.DIR_STATE}/verdict-{token.prefix}-node{node}.json"
        logs = {str(rank): lines for rank, lines in last_lines.items()} or self._logs(key)
        self._put(key, _document(outcome) | {"time": time.time(), "logs": logs})

    def finished(self, step: int | None) -> None:
        """The completion marker, for scripts that do not write one."""
        self._put(names.KEY_DONE, {"step": step, "reason": "exit 0", "finished": time.time()}, replace=False)

    def is_done(self) -> bool:
        """Whether the run is complete; a storage that does not answer says no."""
        try:
            return self._storage.stat(names.KEY_DONE) is not None
        except StorageError as error:
            self._say("storage_failed", key=names.KEY_DONE, error=error)
            return False

    def _logs(self, key: str) -> Any:
        """What our predecessor kept of its ranks, when we had none: they are the ones that we speak of."""
        try:
            return json.loads(self._storage.get(key)[0])["logs"]
        except (NotFound, ValueError, KeyError, TypeError):  # it was killed, or had none either
            return {}
        except StorageError as error:
            self._say("storage_failed", key=key, error=error)
            return {}

    def _put(self, key: str, document: Mapping[str, Any], *, replace: bool = True) -> None:
        data = json.dumps(document, indent=1).encode() + b"\n"
        try:
            if replace or self._storage.stat(key) is None:
                self._storage.put(key, data)
        except StorageError as error:
            self._say("storage_failed", key=key, error=error)


def write_termination(path: Path, outcome: Outcome, say: Say) -> None:
    """The pod's termination message, which Kubernetes cuts at 4096 bytes."""
    document = _document(outcome)
    data = json.dumps(document).encode()
    while len(data) > MAX_TERMINATION_BYTES:
        document["message"] = document["message"][: len(document["message"]) * 3 // 4]
        data = json.dumps(document).encode()
    try:
        path.write_bytes(data)
    except OSError as error:
        say("termination_log_failed", path=path, error=error.strerror)


def _document(outcome: Outcome) -> dict[str, Any]:
    return {
        "cause": outcome.cause,
        "code": outcome.code,
        "rank": outcome.rank,
        "step": outcome.step,
        "checkpoint": outcome.checkpoint,
        "epoch": outcome.epoch or None,
        "message": outcome.message[:MAX_MESSAGE],
    }


def _record(token: Token, started: float, end: Mapping[str, Any]) -> dict[str, Any]:
    blank = dict.fromkeys(("ended", "cause", "counted", "exit_codes", "first_failure", "step"))
    return {"attempt": token.attempt, "epoch": token.epoch, "started": started} | blank | dict(end)


def _end(outcome: Outcome, *, at: float, counted: bool) -> dict[str, Any]:
    first = {"rank": -1 if outcome.rank is None else outcome.rank, "code": outcome.code, "message": outcome.message}
    return {"ended": at, "cause": outcome.cause, "counted": counted, "first_failure": first}
