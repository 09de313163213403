"""Prometheus' own tool, and Prometheus itself, from Debian."""

import shutil
import subprocess
from pathlib import Path

import pytest


def promtool(*args: str | Path, stdin: str | None = None) -> None:
    """Fails with what it says; where it is not installed, the test is skipped, which CI counts as a failure."""
    need_prometheus()
    done = subprocess.run(["promtool", *args], input=stdin, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr


def need_prometheus() -> None:
    """Skips the test without it."""
    if shutil.which("promtool") is None or shutil.which("prometheus") is None:
        pytest.skip("Prometheus is not installed; `make cluster-setup` installs it")
