"""Helm, and what it makes of the chart."""

import json
import sys
from pathlib import Path
from typing import Any, Final

import yaml

from hack.cluster.shell import run

ROOT: Final = Path(__file__).parents[2]
CHART: Final = ROOT / "deploy" / "helm" / "ktrain"
_HELM: Final = Path(sys.executable).with_name("helm")
MONITORS: Final = "monitoring.coreos.com/v1"  # what the Prometheus operator brings
NAMESPACE: Final = "ktrain-system"
Object = dict[str, Any]


def helm(*args: str | Path) -> str:
    """Its output; NeedError with its last words when it fails."""
    return run(_HELM, *args)


def text(
    values: Object | None = None, *, chart: Path = CHART, monitors: bool = True, kubernetes: str = "1.37",
    release: str = "ktrain", namespace: str = NAMESPACE,
) -> str:  # fmt: skip
    """One document an object; with or without the Prometheus operator's kinds."""
    known = ("--api-versions", MONITORS) if monitors else ()
    version = f"--kube-version=v{kubernetes}.0"
    return run(
        _HELM, "template", release, chart, "--namespace", namespace, version, *known,
        "--values", "-", stdin=json.dumps(values or {}),
    )  # fmt: skip


def objects(values: Object | None = None, *, chart: Path = CHART, monitors: bool = True) -> list[Object]:
    """The same, read."""
    return [it for it in yaml.safe_load_all(text(values, chart=chart, monitors=monitors)) if it]


def one(found: list[Object], kind: str, name: str = "") -> Object:
    """The object of this kind, and of this name where there are several."""
    (only,) = (it for it in found if it["kind"] == kind and name in {"", it["metadata"]["name"]})
    return only
