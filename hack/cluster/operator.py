"""The Kubeflow training operator, from its official manifests, with the image that was built from its source."""

import re

from hack.cluster import binaries, images
from hack.cluster.kubectl import kubectl
from hack.cluster.layout import bin_folder
from hack.cluster.shell import run, wait

MODULE = "github.com/kubeflow/training-operator"
NAMESPACE = "kubeflow"
PROGRAM = "training-operator"


def ensure_image() -> str:
    """Its image."""
    return images.ensure_static(PROGRAM, at="/manager")


def install() -> None:
    """Definitions, roles, webhooks and the deployment; returns when it is available."""
    folder = binaries.module_folder(MODULE) / "manifests" / "overlays" / "standalone"
    manifests = run(bin_folder() / "kubectl", "kustomize", folder)
    ours = re.sub(r"image: \S*training-operator:\S+", f"image: {images.static_name(PROGRAM)}", manifests)
    kubectl("apply", "--server-side", "-f", "-", stdin=ours)
    wait("the training operator", _is_available, seconds=90)


def _is_available() -> bool:
    status = kubectl(
        "-n", NAMESPACE, "get", "deployment", "training-operator", "-o", "jsonpath={.status.availableReplicas}"
    )
    return status.strip() == "1"
