"""Outlives a killed parent by a moment, to end the process groups that it left. Started by path, alone."""

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

_FOR_US: Final = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
_BARE: Final = (sys.executable, "-I", "-S")  # no site packages: 15 ms instead of 60


class Guard:
    """A small process that kills the registered process groups when we are gone, however we went."""

    def __init__(self) -> None:
        with deaf():
            self._process = subprocess.Popen(
                [*_BARE, str(Path(__file__))], stdin=subprocess.PIPE, text=True, start_new_session=True
            )

    @property
    def pid(self) -> int:
        """Of the guard itself."""
        return self._process.pid

    def add(self, group: int) -> None:
        """From now on this group dies with us."""
        self._tell(f"+{group}\n")

    def remove(self, group: int) -> None:
        """This group has ended, and its number may come to somebody else."""
        self._tell(f"-{group}\n")

    def close(self) -> None:
        """Ends the guard, which kills what is still registered."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        self._process.wait()

    def _tell(self, line: str) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write(line)
            self._process.stdin.flush()


@contextlib.contextmanager
def deaf() -> Iterator[None]:
    """Blocked signals stay blocked in a process that is started here: what is meant for us never reaches it, not even at its start."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_US)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def kill_group(leader: int) -> None:
    """SIGKILL to a process and all that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def watch(lines: Iterable[str]) -> set[int]:
    """Reads `+GROUP` and `-GROUP` until the parent's end of the pipe closes; the groups that are left."""
    groups: set[int] = set()
    for line in lines:
        change, group = line[0], int(line[1:])
        (groups.add if change == "+" else groups.discard)(group)
    return groups


if __name__ == "__main__":
    for left in watch(sys.stdin):
        kill_group(left)
