"""The one door to the operating system's processes: tell ranks to go, collect what is left of them."""

import contextlib
import os
import signal
from pathlib import Path


def ask_to_stop(pid: int) -> None:
    """SIGTERM to the rank alone: its data loader workers must live until its last checkpoint is written."""
    _send(pid, signal.SIGTERM)


def ask_for_stacks(pid: int) -> None:
    """SIGUSR1: ranks that registered faulthandler print where they stand, others ignore it."""
    _send(pid, signal.SIGUSR1)


def ask_to_save(pid: int) -> None:
    """SIGUSR2: the trainer saves after this step, others ignore it."""
    _send(pid, signal.SIGUSR2)


def ask_for_profile(pid: int) -> None:
    """SIGURG: the trainer records its next steps, others ignore it."""
    _send(pid, signal.SIGURG)


def state_of(pid: int) -> str:
    """One letter of the kernel's, such as T for stopped; empty where there is no /proc, or no such process."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return ""


def reap_group(leader: int) -> None:
    """Collects orphans of the group that became our children (we are process 1 in a pod)."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-leader, os.WNOHANG)[0]:
            pass


def _send(pid: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
