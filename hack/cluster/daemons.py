"""Daemons: started into a namespace, remembered by id and start time, ended by id."""

import os
import signal
import subprocess
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from hack.cluster.layout import LOGS, PIDS
from hack.cluster.shell import inside

_ours: Final[dict[str, subprocess.Popen[bytes]]] = {}  # that this process has started, and must wait for when they end


def start(name: str, namespace: str, *argv: str | Path, env: Mapping[str, str] | None = None) -> None:
    """Starts it in a session of its own, unless it runs; its output goes to log/NAME.log."""
    start_here(name, *inside(namespace, *argv), env=env)


def start_here(name: str, *argv: str | Path, env: Mapping[str, str] | None = None) -> None:
    """The same, in the network of this machine."""
    if is_running(name):  # a second one would take its name, and nobody could end the first
        return
    for folder in (LOGS, PIDS):
        folder.mkdir(parents=True, exist_ok=True)
    with (LOGS / f"{name}.log").open("ab") as log:
        process = _ours[name] = subprocess.Popen(
            list(map(str, argv)), stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            env={**os.environ, **(env or {})},
        )  # fmt: skip
    (PIDS / name).write_text(f"{process.pid} {_started(process.pid)}")


def stop(name: str, *, seconds: float = 5.0) -> None:
    """SIGTERM to its group, SIGKILL when it stays; nothing when it does not run."""
    pid = pid_of(name)
    if pid is not None:
        _signal(pid, signal.SIGTERM)
        until = time.monotonic() + seconds
        while is_running(name) and time.monotonic() < until:
            _reap(name)
            time.sleep(0.02)
        kill(name)
    _bury(name)
    (PIDS / name).unlink(missing_ok=True)


def kill(name: str) -> None:
    """SIGKILL to its group, at once."""
    pid = pid_of(name)
    if pid is not None:
        _signal(pid, signal.SIGKILL)
        if name in _ours:
            _ours[name].wait()


def kill_pid(pid: int) -> None:
    """SIGKILL to one process that is not ours to wait for."""
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def is_running(name: str) -> bool:
    """Whether it lives."""
    return pid_of(name) is not None


def pid_of(name: str) -> int | None:
    """Its id, if the process under that id is still the one that was started."""
    try:
        pid, started = (PIDS / name).read_text().split()
    except (OSError, ValueError):
        return None
    return int(pid) if _started(int(pid)) == started else None


def names() -> list[str]:
    """All that were started and not stopped."""
    return sorted(path.name for path in PIDS.glob("*"))


def _started(pid: int) -> str:
    """Its start time in ticks; empty for a process that is gone or a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def _signal(pid: int, number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(pid, number)


def _bury(name: str) -> None:
    """One that has ended is waited for, however it ended: its name may be used again."""
    if process := _ours.pop(name, None):
        process.wait()


def _reap(name: str) -> None:
    if name in _ours:  # or it was started by another process, and is not ours to wait for
        _ours[name].poll()
