"""The processes below a `ktrain run`."""

import time
from pathlib import Path


def children(pid: int) -> list[int]:
    """All processes below this one."""
    found = [int(path.parts[2]) for path in Path("/proc").glob("[0-9]*/stat") if _parent(path) == pid]
    return [it for child in found for it in (child, *children(child))]


def _parent(stat: Path) -> int:
    try:
        return int(stat.read_text(encoding="utf-8").rsplit(")", 1)[1].split()[1])
    except OSError:
        return 0


def named(pids: list[int], name: str) -> list[int]:
    return [pid for pid in pids if f" -m {name} ".encode() in _command_line(pid).replace(b"\0", b" ") + b" "]


def _command_line(pid: int) -> bytes:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


def wait_until_gone(pids: list[int]) -> None:
    until = time.monotonic() + 20
    while any(_command_line(pid) for pid in pids):
        assert time.monotonic() < until, f"still there: {[_command_line(pid) for pid in pids]}"
        time.sleep(0.05)
