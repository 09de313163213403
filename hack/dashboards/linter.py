"""Grafana's dashboard-linter, built from a pinned Go module."""

from pathlib import Path
from typing import Final

from hack.cluster import program

RULES: Final = Path(__file__).parent / "lint.yaml"


def ensure() -> Path:
    """The program; the first time it takes a minute or two to build."""
    return program.built("github.com/grafana/dashboard-linter", module=Path(__file__).parent / "go")
