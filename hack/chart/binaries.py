"""The chart's checkers that are Go programs, built from pinned modules into the cache of the cluster's."""

import hashlib
import os
from pathlib import Path
from typing import Final

from hack.cluster.layout import CACHE
from hack.cluster.shell import NeedError, has, run, say

_GO: Final = Path(__file__).parent / "go"
# kube-score is a module of its own: it is built with an older Kubernetes than the others.
_PROGRAMS: Final = {
    "helm-unittest": ("validate", "github.com/helm-unittest/helm-unittest/cmd/helm-unittest"),
    "kubeconform": ("validate", "github.com/yannh/kubeconform/cmd/kubeconform"),
    "kube-score": ("score", "github.com/zegl/kube-score/cmd/kube-score"),
}
NAMES: Final = tuple(_PROGRAMS)


def ensure(name: str) -> Path:
    """The program; builds it when it is not there (less than a minute for all)."""
    module, package = _PROGRAMS[name]
    target = _folder() / name
    if not target.exists():
        target.parent.mkdir(parents=True, exist_ok=True)
        _build(_GO / module, package, target)
    return target


def _folder() -> Path:
    pins = b"".join(path.read_bytes() for path in sorted(_GO.rglob("go.*")))
    return CACHE / "chart" / hashlib.sha256(pins).hexdigest()[:12]


def _build(module: Path, package: str, to: Path) -> None:
    if not has("go"):
        raise NeedError("Go is not installed; the chart's checkers are built from source: install Go 1.26 or newer")
    say(f"chart: building {to.name}")
    begun = to.with_name(f".{to.name}.{os.getpid()}")
    settings = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false"}
    run("go", "build", "-trimpath", "-ldflags", "-s -w", "-o", str(begun), package, cwd=module, env=settings)
    begun.rename(to)
