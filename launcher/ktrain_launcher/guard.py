"""Outlives a killed launcher by a moment, to end its ranks and everything that they started. Started by path, alone."""

import contextlib
import os
import signal
import sys
from collections.abc import Iterable


def watch(lines: Iterable[str]) -> set[int]:
    """Reads `+GROUP` and `-GROUP` until the launcher's end of the pipe closes; the groups that are left."""
    groups: set[int] = set()
    for line in lines:
        change, group = line[0], int(line[1:])
        (groups.add if change == "+" else groups.discard)(group)
    return groups


def main() -> None:
    """Waits for the launcher's end, kills what it left."""
    for group in watch(sys.stdin):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main()
