"""Tells Prometheus which pods have a port called metrics, in the words of its Kubernetes discovery, without which Debian builds it."""

import json
import re
import ssl
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from hack.cluster.layout import API, CONTROL_IP, DISCOVERY_PORT, PKI


def targets(pods: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One group per pod that has an address and such a port, in Prometheus' HTTP discovery format."""
    return [
        {
            "targets": [f"{pod['status']['podIP']}:{port}"],
            "labels": labels(pod),
        }
        for pod in pods
        if pod.get("status", {}).get("podIP") and pod["status"].get("phase") == "Running"
        for port in _ports(pod)
    ]


def labels(pod: dict[str, Any]) -> dict[str, str]:
    """What relabelling may read, and the two that the Prometheus operator makes of it for every target."""
    me = pod["metadata"]
    read = {"__meta_kubernetes_namespace": me["namespace"], "__meta_kubernetes_pod_name": me["name"]}
    own = {
        f"__meta_kubernetes_pod_label_{re.sub('[^a-zA-Z0-9_]', '_', key)}": value
        for key, value in me.get("labels", {}).items()
    }
    return {**read, **own, "namespace": me["namespace"], "pod": me["name"]}


def _ports(pod: dict[str, Any]) -> list[int]:
    ports = [port for container in pod["spec"]["containers"] for port in container.get("ports", [])]
    return [port["containerPort"] for port in ports if port.get("name") == "metrics"]


def _pods() -> list[dict[str, Any]]:
    context = ssl.create_default_context(cafile=str(PKI / "ca.crt"))
    context.load_cert_chain(PKI / "admin.crt", PKI / "admin.key")
    with urllib.request.urlopen(f"{API}/api/v1/pods", context=context, timeout=5) as answer:
        items: list[dict[str, Any]] = json.load(answer)["items"]
    return items


class _Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = json.dumps(targets(_pods())).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer((CONTROL_IP, DISCOVERY_PORT), _Handler).serve_forever()
