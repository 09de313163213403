"""The programs of the cluster, built from pinned Go modules into a cache outside the tree."""

import os
from pathlib import Path
from typing import Final

from hack.cluster.layout import HERE, bin_folder
from hack.cluster.shell import NeedError, has, run, say

_CONTROL: Final = {
    "etcd": "go.etcd.io/etcd/server/v3",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
    "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
    "kube-proxy": "k8s.io/kubernetes/cmd/kube-proxy",
    "kubelet": "k8s.io/kubernetes/cmd/kubelet",
    "kubectl": "k8s.io/kubernetes/cmd/kubectl",
    "coredns": "github.com/coredns/coredns",
    "training-operator": "github.com/kubeflow/training-operator/cmd/training-operator.v1",
}
_NODE: Final = {
    "containerd": "github.com/containerd/containerd/v2/cmd/containerd",
    "containerd-shim-runc-v2": "github.com/containerd/containerd/v2/cmd/containerd-shim-runc-v2",
    "ctr": "github.com/containerd/containerd/v2/cmd/ctr",
}
# What `git` would have told the build; kubectl, Helm and client libraries read the API server's version.
_VERSION: Final = " ".join(
    f"-X k8s.io/component-base/version.{name}={value}"
    for name, value in (("gitVersion", "v1.36.3"), ("gitMajor", "1"), ("gitMinor", "36"))
)
# containerd is a module of its own: the cri-api that it needs is not the one of Kubernetes.
_MODULES: Final = (("control", _CONTROL, ()), ("node", _NODE, ("-tags", "no_btrfs,no_devmapper,no_zfs")))


def ensure() -> Path:
    """The folder with all of them; builds what is missing (about 6 minutes the first time on two cores)."""
    folder = bin_folder()
    folder.mkdir(parents=True, exist_ok=True)
    for module, programs, flags in _MODULES:
        for name, package in programs.items():
            if not (folder / name).exists():
                _build(HERE / "go" / module, package, flags, folder / name)
    _pause(folder)
    return folder


def module_folder(path: str) -> Path:
    """The sources of a module of the control plane, for the manifests in them."""
    return Path(_go(HERE / "go" / "control", "list", "-m", "-f", "{{.Dir}}", path).strip())


def _build(module: Path, package: str, flags: tuple[str, ...], to: Path) -> None:
    say(f"cluster: building {to.name}")
    begun = to.with_name(f".{to.name}.{os.getpid()}")
    _go(module, "build", "-trimpath", "-ldflags", f"-s -w {_VERSION}", *flags, "-o", str(begun), package)
    begun.rename(to)


def _go(module: Path, *args: str) -> str:
    if not has("go"):
        raise NeedError("Go is not installed; the cluster is built from source: install Go 1.26 or newer")
    return run(
        "go", *args, cwd=module, env={**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-mod=readonly -buildvcs=false"}
    )


def _pause(folder: Path) -> None:
    """The container that holds a pod's namespaces: it sleeps until it is told to go."""
    if not (folder / "pause").exists():
        say("cluster: building pause")
        begun = folder / f".pause.{os.getpid()}"
        _go(HERE / "go" / "pause", "build", "-trimpath", "-ldflags", "-s -w", "-o", str(begun), ".")
        begun.rename(folder / "pause")
