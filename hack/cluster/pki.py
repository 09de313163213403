"""Certificates of the control plane and the nodes, and the kubeconfigs that carry them."""

import json
from pathlib import Path

from hack.cluster.layout import API, CONTROL_IP, PKI, RUN, Node
from hack.cluster.shell import run

_API_NAMES = (
    "DNS:kubernetes,DNS:kubernetes.default,DNS:kubernetes.default.svc,DNS:localhost,"
    f"IP:{CONTROL_IP},IP:127.0.0.1,IP:10.96.0.1"
)


def create(nodes: list[Node]) -> None:
    """One authority signs everything; nothing of it outlives the cluster."""
    PKI.mkdir(parents=True, exist_ok=True)
    _openssl("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.crt -subj /CN=ktrain-cluster -days 30")
    _issue("apiserver", "/CN=apiserver", _API_NAMES)
    _issue("admin", "/O=system:masters/CN=admin")
    _issue("kubelet-client", "/O=system:masters/CN=kube-apiserver-kubelet-client")
    for name in ("kube-controller-manager", "kube-scheduler", "kube-proxy"):
        _issue(name, f"/O=system:masters/CN=system:{name}")
        kubeconfig(name)
    for node in nodes:
        _issue(node.name, f"/O=system:nodes/CN=system:node:{node.name}", f"DNS:{node.name},IP:{node.ip}")
        kubeconfig(node.name)
    kubeconfig("admin")
    _openssl("genrsa -out sa.key 2048")
    _openssl("rsa -in sa.key -pubout -out sa.pub")


def kubeconfig(name: str) -> Path:
    """For the holder of this certificate."""
    user = {"client-certificate": str(PKI / f"{name}.crt"), "client-key": str(PKI / f"{name}.key")}
    path = RUN / f"{name}.kubeconfig"
    path.write_text(json.dumps(kubeconfig_document(user)))
    return path


def kubeconfig_document(user: dict[str, str], *, server: str = API, namespace: str = "default") -> dict[str, object]:
    """A kubeconfig with one cluster and one user."""
    cluster = {"server": server, "certificate-authority": str(PKI / "ca.crt")}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "ktrain-cluster",
        "clusters": [{"name": "ktrain-cluster", "cluster": cluster}],
        "users": [{"name": "user", "user": user}],
        "contexts": [
            {"name": "ktrain-cluster", "context": {"cluster": "ktrain-cluster", "user": "user", "namespace": namespace}}
        ],
    }


def _issue(name: str, subject: str, names: str = "") -> None:
    extension = PKI / f"{name}.ext"
    extension.write_text(f"subjectAltName={names}\n" * bool(names) + "extendedKeyUsage=serverAuth,clientAuth\n")
    _openssl(f"req -newkey rsa:2048 -nodes -keyout {name}.key -out {name}.csr -subj {subject}")
    _openssl(
        f"x509 -req -in {name}.csr -CA ca.crt -CAkey ca.key -CAcreateserial -out {name}.crt -days 30 -extfile {name}.ext"
    )


def _openssl(words: str) -> None:
    run("openssl", *words.split(), cwd=PKI)
