"""Prometheus' own checker, and its server: of Debian's package `prometheus`; where it is missing, that is said."""

import shutil
import subprocess
from pathlib import Path

import pytest


def needs(program: str) -> None:
    """Skips where it is not installed, which CI counts as a failure."""
    if shutil.which(program) is None:
        pytest.skip(f"{program} is not installed; it is in the package `prometheus`")


def promtool(*args: str | Path, stdin: str = "") -> str:
    """What it says; AssertionError with that when it is not content."""
    needs("promtool")
    done = subprocess.run(["promtool", *args], input=stdin, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    return said
