"""Memory that outlives ranks: files without a name, which the kernel frees when this process ends, however it ends."""

import os
from pathlib import Path
from typing import Final

from ktrain.voice import Say

COPIES: Final = 2  # one that is being uploaded, one for the next save


class Memory:
    """A few files for each rank of this pod; how large they get is up to the rank."""

    def __init__(self, nproc: int, copies: int, say: Say) -> None:
        """Linux alone has such files; elsewhere, and without /proc, ranks get none."""
        self._paths: list[list[str]] = []
        try:
            self._paths = [[_path(local, copy) for copy in range(copies)] for local in range(nproc)]
        except (OSError, AttributeError) as error:
            say("no_memory_tier", error=error)

    def of(self, local: int) -> list[str]:
        """Where a rank opens its own."""
        return self._paths[local] if self._paths else []


def _path(local: int, copy: int) -> str:
    made = os.memfd_create(f"ktrain-{local}-{copy}")  # type: ignore[attr-defined,unused-ignore]
    path = f"/proc/{os.getpid()}/fd/{made}"
    Path(path).stat()
    return path
