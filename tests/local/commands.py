"""`ktrain run` as a process, and what it leaves."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ktrain.history import current_run, read_head
from ktrain.storage import Storage, open_storage, scoped

DEADLINE = 90


def command(*args: str) -> list[str]:
    return [sys.executable, "-m", "ktrain", "run", "job.yaml", *args]


def ktrain_run(folder: Path, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command(*args), cwd=folder, capture_output=True, text=True, timeout=DEADLINE, check=False)


@contextmanager
def running(folder: Path, *args: str) -> Iterator[subprocess.Popen[str]]:
    """A run that trains: it has made steps and saved."""
    process = subprocess.Popen(command(*args), cwd=folder, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stderr is not None
        for line in process.stderr:
            if "committed=True" in line:
                break
        yield process
    finally:
        process.kill()
        process.communicate()


def run_storage(folder: Path) -> Storage:
    job = scoped(open_storage(str(folder / "runs")), "default/demo")
    run = current_run(job)
    assert run is not None
    return scoped(job, run)


def step(folder: Path) -> int:
    head = read_head(run_storage(folder))
    return head.newest.step if head and head.newest else 0


LONG = (
    "--set",
    "trainer.duration=1000000step",
    "--set",
    "trainer.checkpoint.every=50step",
    "--set",
    "trainer.eval.every=1000000step",
)
