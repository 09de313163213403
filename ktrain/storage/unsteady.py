"""A storage that fails on purpose, for game days: `ktrain chaos` says in a file when."""

import time
from pathlib import Path
from typing import Any, Final, cast

from ktrain.errors import StorageError
from ktrain.storage.base import Storage

PATIENCE: Final = 30.0
"""Seconds after which a request fails that is not answered: as long as clients of real stores try again."""

TICK: Final = 0.05


def unsteady(storage: Storage, plan: Path) -> Storage:
    """The same storage, away or slow while `plan` says so: `outage UNTIL` or `slow UNTIL SECONDS`, in Unix seconds."""
    return cast("Storage", _Unsteady(storage, plan))


class _Unsteady:
    def __init__(self, storage: Storage, plan: Path) -> None:
        self._storage, self._plan = storage, plan

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._storage, name)
        if not callable(found):
            return found

        def request(*args: Any, **named: Any) -> Any:
            self._suffer()
            return found(*args, **named)

        return request

    def _suffer(self) -> None:
        begun = time.time()
        kind, until, seconds = _read(self._plan)
        if kind == "slow" and begun < until:
            time.sleep(seconds)
        while kind == "outage" and (now := time.time()) < until:
            if now - begun > PATIENCE:
                raise StorageError(f"{self._storage.url} does not answer (ktrain chaos)")
            time.sleep(TICK)
            kind, until, _ = _read(self._plan)


def _read(plan: Path) -> tuple[str, float, float]:
    try:
        words = plan.read_text(encoding="utf-8").split()
    except OSError:
        return "", 0.0, 0.0
    kind, until, seconds = (*words, "0", "0", "0")[:3]
    return kind, float(until), float(seconds)
