"""Checkov, which pins a hundred packages of its own and so has an environment of its own."""

import hashlib
import json
import os
from pathlib import Path
from typing import Final

from hack.chart.helm import ROOT, Object
from hack.cluster.layout import CACHE
from hack.cluster.shell import run, say

_PROJECT: Final = Path(__file__).parent / "scanner"
_UV: Final = ROOT / ".tools" / "uv" / "bin" / "uv"


def ensure() -> None:
    """Its environment."""
    if not _environment().exists():
        say("chart: installing checkov")
    run(_UV, "sync", "--quiet", "--frozen", "--project", _PROJECT, env=_settings())


def scan(path: Path) -> list[Object]:
    """Its results for a file of manifests, passed, failed and skipped."""
    told = run(
        _UV, "run", "--quiet", "--frozen", "--project", _PROJECT, "checkov", "--file", path, "--framework", "kubernetes",
        "--skip-download", "--soft-fail", "--output", "json", env=_settings(),
    )  # fmt: skip
    results = json.loads(told)["results"]
    return [it for verdict in ("passed_checks", "failed_checks", "skipped_checks") for it in results[verdict]]


def _settings() -> dict[str, str]:
    return {**os.environ, "UV_PROJECT_ENVIRONMENT": str(_environment())}


def _environment() -> Path:
    """One for each lock."""
    return CACHE / "chart" / f"checkov-{hashlib.sha256((_PROJECT / 'uv.lock').read_bytes()).hexdigest()[:12]}"
