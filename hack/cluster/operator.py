"""The Kubeflow training operator, from its official manifests and its source: in a pod, or as a process beside the control plane."""

import base64
import json
import re
from pathlib import Path
from typing import Any, Final

import yaml

from hack.cluster import binaries, daemons, images
from hack.cluster.kubectl import get, kubectl
from hack.cluster.layout import CONTROL, CONTROL_IP, RUN, bin_folder
from hack.cluster.pki import kubeconfig_document
from hack.cluster.shell import in_control, run, succeeds, wait

Object = dict[str, Any]
MODULE = "github.com/kubeflow/training-operator"
NAMESPACE = "kubeflow"
PROGRAM = "training-operator"
_PORTS: Final = {"monitoring-port": 8080, "webhook-server": 9443}
_HEALTH: Final = f"http://{CONTROL_IP}:8081/readyz"


def ensure_image() -> str:
    """Its image."""
    return images.ensure_static(PROGRAM, at="/manager")


def install() -> None:
    """Definitions, roles, webhooks and the deployment; returns when it is available."""
    ours = re.sub(r"image: \S*training-operator:\S+", f"image: {images.static_name(PROGRAM)}", _manifests())
    kubectl("apply", "--server-side", "-f", "-", stdin=ours)
    wait("the training operator", _is_available, seconds=90)


def start(*flags: str) -> None:
    """The same without the deployment: a process with its account's rights, for a cluster whose nodes run nothing."""
    documents = [it for it in yaml.safe_load_all(_manifests()) if it["kind"] != "Deployment"]
    for service in (it for it in documents if it["kind"] == "Service"):
        del service["spec"]["selector"]  # no pod is behind it, but we
    kubectl("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all([*documents, _endpoints()]))
    # It keeps its certificate below /tmp, wherever TMPDIR is: it gets a /tmp of its own, which goes when it does.
    folder = RUN / "operator"
    served = folder / "k8s-webhook-server" / "serving-certs"
    served.mkdir(parents=True, exist_ok=True)
    daemons.start(
        PROGRAM, CONTROL, "unshare", "--mount", "sh", "-c", 'mount --bind "$0" /tmp && exec "$@"', folder,
        bin_folder() / PROGRAM, *flags, env={"KUBECONFIG": str(_kubeconfig()), "MY_POD_NAMESPACE": NAMESPACE},
    )  # fmt: skip
    wait("the certificate of the training operator", lambda: _mount_secret(served))
    wait("the training operator", lambda: succeeds(in_control("curl", "-sf", _HEALTH)))


def _manifests() -> str:
    folder = binaries.module_folder(MODULE) / "manifests" / "overlays" / "standalone"
    return run(bin_folder() / "kubectl", "kustomize", folder)


def _is_available() -> bool:
    status = kubectl(
        "-n", NAMESPACE, "get", "deployment", "training-operator", "-o", "jsonpath={.status.availableReplicas}"
    )
    return status.strip() == "1"


def _endpoints() -> Object:
    meta = {"name": PROGRAM, "namespace": NAMESPACE, "labels": {"kubernetes.io/service-name": PROGRAM}}
    return {
        "apiVersion": "discovery.k8s.io/v1", "kind": "EndpointSlice", "metadata": meta, "addressType": "IPv4",
        "endpoints": [{"addresses": [CONTROL_IP], "conditions": {"ready": True}}],
        "ports": [{"name": name, "port": port, "protocol": "TCP"} for name, port in _PORTS.items()],
    }  # fmt: skip


def _kubeconfig() -> Path:
    token = kubectl("-n", NAMESPACE, "create", "token", PROGRAM, "--duration=24h").strip()
    path = RUN / f"{PROGRAM}.kubeconfig"
    path.write_text(json.dumps(kubeconfig_document({"token": token}, namespace=NAMESPACE)))
    return path


def _mount_secret(folder: Path) -> bool:
    """What its pod's volume would do, when it has made its certificate."""
    held = get("-n", NAMESPACE, "secret", "training-operator-webhook-cert").get("data") or {}
    for name, value in held.items():
        (folder / name).write_bytes(base64.b64decode(value))
    return "tls.crt" in held
