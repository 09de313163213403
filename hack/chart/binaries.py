"""The chart's checkers that are Go programs."""

from pathlib import Path
from typing import Final

from hack.cluster import program

_GO: Final = Path(__file__).parent / "go"
# kube-score is a module of its own: it is built with an older Kubernetes than the others.
_PROGRAMS: Final = {
    "helm-unittest": ("validate", "github.com/helm-unittest/helm-unittest/cmd/helm-unittest"),
    "kubeconform": ("validate", "github.com/yannh/kubeconform/cmd/kubeconform"),
    "kube-score": ("score", "github.com/zegl/kube-score/cmd/kube-score"),
}
NAMES: Final = tuple(_PROGRAMS)


def ensure(name: str) -> Path:
    """The program (less than a minute for all, the first time)."""
    module, package = _PROGRAMS[name]
    return program.built(package, module=_GO / module)
