"""The TCP store of the ranks: new for each epoch, because gloo finds dead peers in one that is kept, as torchrun's is."""

import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from ktrain.guard import Guard, kill_group
from ktrain_launcher.nursery import Child, Command, Nursery

POLL_SECONDS: Final = 0.005
START_SECONDS: Final = 60.0
REAP_SECONDS: Final = 10.0


class EpochStore:
    """Node 0's; each is a process that is forked from the interpreter that has torch."""

    def __init__(self, nursery: Nursery, guard: Guard, env: Mapping[str, str], *, folder: Path, bind: str) -> None:
        self._nursery, self._guard, self._env = nursery, guard, env
        self._program = Command([sys.executable, "-m", "ktrain_launcher.host_store", bind], folder)
        self._out, self._err = folder / "store.out", folder / "store.err"
        self._child: Child | None = None

    def renew(self) -> int:
        """The port of a new store, in place of the last one; RuntimeError when there can be none."""
        self.close()
        for path in (self._out, self._err):
            path.unlink(missing_ok=True)
        self._child = self._nursery.start(self._env, self._out, self._err, self._program)
        self._guard.add(self._child.pid)
        return self._port(self._child)

    def close(self) -> None:
        """Ends the store."""
        if child := self._child:
            self._child = None
            kill_group(child.pid)
            child.wait(REAP_SECONDS)
            child.bury()
            self._guard.remove(child.pid)

    def _port(self, child: Child) -> int:
        end = time.monotonic() + START_SECONDS
        while True:
            told = self._out.read_text(encoding="utf-8") if self._out.exists() else ""
            if told.endswith("\n"):
                return int(told)
            if child.poll() is not None or time.monotonic() > end:
                raise self._failure()
            time.sleep(POLL_SECONDS)

    def _failure(self) -> RuntimeError:
        said = self._err.read_text(encoding="utf-8", errors="replace") if self._err.exists() else ""
        last = next((line for line in reversed(said.splitlines()) if line.strip()), "it did not start in time")
        error = RuntimeError(f"the ranks' store cannot be opened: {last}")
        error.add_note(said)
        return error
