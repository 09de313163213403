"""The one door to the operating system's processes: start a guard, tell ranks to go, kill what is left of them."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_FOR_US: Final = frozenset({signal.SIGINT, signal.SIGTERM, signal.SIGHUP})
_HERE: Final = Path(__file__).parent
_BARE: Final = (sys.executable, "-I", "-S")  # no site packages: 15 ms instead of 60


def rank_command(folder: Path, argv: Sequence[str], *, cwd: Path) -> tuple[str, tuple[str, ...]]:
    """Program and arguments that start a rank which cannot outlive us; argv travels in a file, untouched by torch's macros."""
    path = folder / "command.json"
    path.write_text(json.dumps({"argv": list(argv), "cwd": str(cwd)}))
    return _BARE[0], (*_BARE[1:], str(_HERE / "child.py"), str(path), str(os.getpid()))


class Guard:
    """A small process that kills the registered process groups when we are gone, however we went."""

    def __init__(self) -> None:
        # Blocked signals stay blocked in the new process: what is meant for us never reaches it, not even at its start.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _FOR_US)
        try:
            self._process = subprocess.Popen(
                [*_BARE, str(_HERE / "guard.py")], stdin=subprocess.PIPE, text=True, start_new_session=True
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)

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


def ask_to_stop(pid: int) -> None:
    """SIGTERM to the rank alone: its data loader workers must live until its last checkpoint is written."""
    _send(pid, signal.SIGTERM)


def ask_for_stacks(pid: int) -> None:
    """SIGUSR1: ranks that registered faulthandler print where they stand, others ignore it."""
    _send(pid, signal.SIGUSR1)


def kill_group(leader: int) -> None:
    """SIGKILL to the rank and all that it started."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def reap_group(leader: int) -> None:
    """Collects orphans of the group that became our children (we are process 1 in a pod)."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-leader, os.WNOHANG)[0]:
            pass


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
