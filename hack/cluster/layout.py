"""Where the cluster keeps its files, what its parts are called, and their addresses."""

import hashlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Final

HERE: Final = Path(__file__).parent
KUEUE: Final = "kueue"  # the module with Kueue's definitions
KWOK: Final = "kwok"  # the module with the program that plays nodes
WATCH: Final = ("prometheus", "monitoring")  # the modules with a Prometheus that discovers, and with its operator
# Of network namespaces and cgroups: `down` removes what begins so. Another one, and other folders: another cluster beside it.
PREFIX: Final = os.environ.get("KTRAIN_CLUSTER_PREFIX") or "ktc"

SERVICES: Final = "10.96.0.0/16"
CONTROL_IP: Final = "10.200.0.1"
API: Final = f"https://{CONTROL_IP}:6443"
S3_PORT: Final = 8333
S3: Final = f"http://{CONTROL_IP}:{S3_PORT}"
PROMETHEUS_PORT: Final = 9090
DISCOVERY_PORT: Final = 9091
CONTROL: Final = f"{PREFIX}-cp"  # the network namespace of the control plane, and of the tests' client side


def _folder(variable: str, default: Path) -> Path:
    return Path(os.environ.get(variable) or default)


RUN: Final = _folder("KTRAIN_CLUSTER_RUN", Path("/run/ktrain-cluster"))
CACHE: Final = _folder("KTRAIN_CLUSTER_CACHE", Path.home() / ".cache" / "ktrain-cluster")
LOGS: Final = RUN / "log"
PIDS: Final = RUN / "pid"
PKI: Final = RUN / "pki"
ADMIN: Final = RUN / "admin.kubeconfig"


@dataclass(frozen=True, slots=True)
class Node:
    """One node: a network namespace, a container runtime and a kubelet."""

    index: int

    @property
    def name(self) -> str:
        """As the cluster calls it."""
        return f"node{self.index}"

    @property
    def namespace(self) -> str:
        """Its network."""
        return f"{PREFIX}-{self.name}"

    @property
    def ip(self) -> str:
        """On the network of all nodes."""
        return f"10.200.0.{10 + self.index}"

    @property
    def pods(self) -> str:
        """The addresses of its pods."""
        return f"10.88.{self.index}.0/24"

    @property
    def folder(self) -> Path:
        """Its files."""
        return RUN / self.name

    @property
    def storage(self) -> Path:
        """Images and container file systems: on the disk of the cache, so that images can be linked from there."""
        return CACHE / "nodes" / self.name

    @property
    def socket(self) -> Path:
        """Of its container runtime."""
        return self.folder / "containerd.sock"

    @property
    def cgroup(self) -> str:
        """Above all its pods."""
        return f"{PREFIX}-{self.name}"


def nodes_up() -> list[Node]:
    """The nodes of the cluster that is up."""
    indices = sorted(int(path.name.removeprefix("node")) for path in RUN.glob("node[0-9]*") if path.is_dir())
    return [Node(index) for index in indices]


def bin_folder() -> Path:
    """The binaries that the pinned modules give; another pin or another way to build, another folder."""
    others = {KUEUE, KWOK, *WATCH}  # of the first nothing is built, the others are built by themselves
    pinned = sorted(it for it in (HERE / "go").rglob("*.*") if it.parent.name not in others)
    pins = b"".join(path.read_bytes() for path in (HERE / "binaries.py", *pinned))
    return CACHE / "bin" / hashlib.sha256(pins).hexdigest()[:12]
