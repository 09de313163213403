"""A job folder to run in."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """What `ktrain init` writes."""
    subprocess.run([sys.executable, "-m", "ktrain", "init", str(tmp_path / "demo")], check=True, capture_output=True)
    return tmp_path / "demo"
