"""Cgroups of nodes, on hosts with version 1 (a tree per controller) and version 2 (one tree)."""

import os
import signal
from contextlib import suppress
from pathlib import Path
from typing import Final

from hack.cluster.layout import PREFIX

ROOT: Final = Path("/sys/fs/cgroup")
_NOT_OURS: Final = frozenset({"unified"})


def create(name: str) -> None:
    """The same name in every controller."""
    for tree in _trees():
        folder = tree / name
        folder.mkdir(exist_ok=True)
        for file in ("cpuset.cpus", "cpuset.mems"):
            if (tree / file).exists() and not is_v2():  # version 1 starts with none, and then takes no process
                (folder / file).write_text((tree / file).read_text())
    if is_v2():
        (ROOT / "cgroup.subtree_control").write_text("+cpu +memory +pids +cpuset +io")


def kill(name: str = "") -> None:
    """SIGKILL to every process in it; without a name, of all nodes."""
    for procs in _files(name):
        with suppress(OSError):
            for pid in procs.read_text().split():
                with suppress(ProcessLookupError):
                    os.kill(int(pid), signal.SIGKILL)


def remove() -> None:
    """All of ours, the innermost first."""
    for procs in _files():
        with suppress(OSError):
            procs.parent.rmdir()


def left() -> list[Path]:
    """What of ours is still there."""
    return [tree / child.name for tree in _trees() for child in tree.glob(f"{PREFIX}-*")]


def is_v2() -> bool:
    """Whether the host has one tree for all controllers."""
    return (ROOT / "cgroup.controllers").exists()


def _trees() -> list[Path]:
    if is_v2():
        return [ROOT]
    return sorted(it for it in ROOT.iterdir() if it.is_dir() and not it.is_symlink() and it.name not in _NOT_OURS)


def _files(name: str = "") -> list[Path]:
    pattern = f"{name or PREFIX + '-*'}/**/cgroup.procs"
    found = [path for tree in _trees() for path in tree.glob(pattern)]
    return sorted(found, key=lambda path: len(path.parts), reverse=True)
