"""Grafana's dashboard-linter, built from a pinned Go module into a cache outside the tree."""

import hashlib
import os
from pathlib import Path
from typing import Final

from hack.cluster.layout import CACHE
from hack.cluster.shell import NeedError, has, run, say

_MODULE: Final = Path(__file__).parent / "go"
_PACKAGE: Final = "github.com/grafana/dashboard-linter"
RULES: Final = Path(__file__).parent / "lint.yaml"


def ensure() -> Path:
    """The program; the first time it takes a minute or two to build."""
    pin = hashlib.sha256((_MODULE / "go.sum").read_bytes() + (_MODULE / "go.mod").read_bytes()).hexdigest()[:12]
    program = CACHE / "bin" / f"dashboard-linter-{pin}"
    if not program.exists():
        _build(program)
    return program


def _build(program: Path) -> None:
    if not has("go"):
        raise NeedError("Go is not installed; the dashboard-linter is built from source: install Go 1.26 or newer")
    say("dashboards: building dashboard-linter")
    program.parent.mkdir(parents=True, exist_ok=True)
    begun = program.with_name(f".{program.name}.{os.getpid()}")
    env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false"}
    run("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", str(begun), _PACKAGE, cwd=_MODULE, env=env)
    begun.rename(program)
