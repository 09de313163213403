"""Becomes a rank: dies with its launcher, then runs the command of a JSON file. Started by path, alone, before torch is there."""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Final

PR_SET_PDEATHSIG: Final = 1


def die_with_parent(parent: int) -> None:
    """Linux kills us with our launcher; elsewhere guard.py does, a moment later."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(137)  # it died before we could ask


def main() -> None:
    """`child.py COMMAND.json LAUNCHER_PID`."""
    command = json.loads(Path(sys.argv[1]).read_text())
    die_with_parent(int(sys.argv[2]))
    # "Dump your stacks" and "save now" must not kill a program that never heard of them; who has replaces this.
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    signal.signal(signal.SIGUSR2, signal.SIG_IGN)
    os.chdir(command["cwd"])
    os.execvpe(command["argv"][0], command["argv"], os.environ)  # noqa: S606


if __name__ == "__main__":
    main()
