"""Commands: in this very process, so that scipy and matplotlib are imported once for all tests, or in one that trains."""

import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Done:
    """What a command left."""

    code: int
    out: str
    err: str


Call = Callable[..., Done]


def patient(*args: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    """A process that may take as long as the test: it trains."""
    command = [sys.executable, "-m", "ktrain", *args]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
