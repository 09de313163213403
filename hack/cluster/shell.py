"""Commands of this machine, and the one way in which a missing thing is told."""

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from hack.cluster.layout import CONTROL, LOGS

DEADLINE: Final = 180.0


class NeedError(Exception):
    """Something that the cluster needs is not here; the sentence says what to do."""


def run(*argv: str | Path, cwd: Path | None = None, stdin: str | None = None, env: dict[str, str] | None = None) -> str:
    """The output of a command; NeedError with its last words when it fails."""
    words = list(map(str, argv))
    try:
        done = subprocess.run(words, cwd=cwd, input=stdin, env=env, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise NeedError(f"{words[0]} is not installed; `make cluster-setup` installs what the cluster needs") from error
    if done.returncode:
        raise NeedError(
            f"`{' '.join(words)}` failed ({done.returncode}): {(done.stderr or done.stdout).strip()[-2000:]}"
        )
    return done.stdout


def inside(namespace: str, *argv: str | Path) -> list[str]:
    """The command line, in a network namespace. Not `ip netns exec`: that remounts /sys and hides the cgroups."""
    return ["nsenter", f"--net=/var/run/netns/{namespace}", *map(str, argv)]


def in_control(*argv: str | Path) -> list[str]:
    """The command line, where the control plane is."""
    return inside(CONTROL, *argv)


def has(program: str) -> bool:
    """Whether it is installed."""
    return shutil.which(program) is not None


def say(text: str) -> None:
    """What happens, for people."""
    print(text, file=sys.stderr, flush=True)


def wait(what: str, is_ready: Callable[[], bool], *, seconds: float = DEADLINE) -> None:
    """Polls; NeedError when it takes too long."""
    until = time.monotonic() + seconds
    while not is_ready():
        if time.monotonic() > until:
            raise NeedError(f"{what} is not ready after {seconds:g} s; the logs are in {LOGS}")
        time.sleep(0.1)


def succeeds(argv: Sequence[str | Path]) -> bool:
    """Whether a command exits 0."""
    return subprocess.run(list(map(str, argv)), capture_output=True, check=False).returncode == 0
