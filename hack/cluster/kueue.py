"""Kueue's Workload as a kind that the API server knows, and nothing of Kueue that runs: tests play its part."""

from pathlib import Path
from typing import Final

from hack.cluster import program
from hack.cluster.kubectl import get, kubectl
from hack.cluster.layout import HERE, KUEUE
from hack.cluster.shell import wait

MODULE: Final = "sigs.k8s.io/kueue"
_FILE: Final = "config/components/crd/bases/kueue.x-k8s.io_workloads.yaml"


def install() -> None:
    """From the pinned module, without the webhook that converts versions; returns when it is served."""
    kubectl("apply", "--server-side", "--force-conflicts", "-f", str(module_folder() / _FILE))
    wait("Kueue's Workload", _is_served, seconds=30)


def _is_served() -> bool:
    conditions = get("crd", "workloads.kueue.x-k8s.io").get("status", {}).get("conditions") or []
    return any(it["type"] == "Established" and it["status"] == "True" for it in conditions)


def module_folder() -> Path:
    """Its sources."""
    return program.sources(MODULE, module=HERE / "go" / KUEUE)
