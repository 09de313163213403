"""The one door to the operating system's processes: start ranks, tell them to go, collect what is left of them."""

import contextlib
import json
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

_HERE: Final = Path(__file__).parent
_BARE: Final = (sys.executable, "-I", "-S")  # no site packages: 15 ms instead of 60


def rank_command(folder: Path, argv: Sequence[str], *, cwd: Path) -> tuple[str, tuple[str, ...]]:
    """Program and arguments that start a rank which cannot outlive us; argv travels in a file, untouched by torch's macros."""
    path = folder / "command.json"
    path.write_text(json.dumps({"argv": list(argv), "cwd": str(cwd)}))
    return _BARE[0], (*_BARE[1:], str(_HERE / "child.py"), str(path), str(os.getpid()))


def ask_to_stop(pid: int) -> None:
    """SIGTERM to the rank alone: its data loader workers must live until its last checkpoint is written."""
    _send(pid, signal.SIGTERM)


def ask_for_stacks(pid: int) -> None:
    """SIGUSR1: ranks that registered faulthandler print where they stand, others ignore it."""
    _send(pid, signal.SIGUSR1)


def ask_to_save(pid: int) -> None:
    """SIGUSR2: the trainer saves after this step, others ignore it."""
    _send(pid, signal.SIGUSR2)


def reap_group(leader: int) -> None:
    """Collects orphans of the group that became our children (we are process 1 in a pod)."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-leader, os.WNOHANG)[0]:
            pass


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
