"""The eighteen things to look for in a chart, of which the best of eight well-known ones has fourteen; and those behind them.

Each is tried in earnest elsewhere in this folder or on the cluster: this page says that none is missing.
"""

import json
from typing import Any

import pytest
import yaml

from hack.chart import helm
from tests.chart.variants import NAMESPACED

OBJECTS = helm.objects()
KINDS = {it["kind"] for it in OBJECTS}
POD: dict[str, Any] = helm.one(OBJECTS, "Deployment")["spec"]["template"]["spec"]
(CONTAINER,) = POD["containers"]
SAFE = CONTAINER["securityContext"]
RULES = [rule for it in OBJECTS if it["kind"] in {"Role", "ClusterRole"} for rule in it["rules"]]
SCHEMA = json.loads((helm.CHART / "values.schema.json").read_text(encoding="utf-8"))
DIGEST = helm.objects({"image": {"digest": f"sha256:{'0' * 64}"}})

CHECKS = {
    "values.schema.json": bool(SCHEMA["properties"]),
    "NOTES.txt": (helm.CHART / "templates" / "NOTES.txt").exists(),
    "generated README": "written by `make schema`" in (helm.CHART / "README.md").read_text(encoding="utf-8"),
    "helm-unittest tests": bool(list((helm.CHART / "tests").glob("*_test.yaml"))),
    "PodDisruptionBudget": "PodDisruptionBudget" in KINDS,
    "NetworkPolicy": "NetworkPolicy" in KINDS,
    "topologySpreadConstraints": bool(POD["topologySpreadConstraints"]),
    "Service/PodMonitor": {"ServiceMonitor", "PodMonitor"} <= KINDS,
    "PrometheusRule": "PrometheusRule" in KINDS,
    "dashboard ConfigMap": any(
        "grafana_dashboard" in it["metadata"]["labels"] for it in OBJECTS if it["kind"] == "ConfigMap"
    ),
    "leader election": "Lease" in KINDS and helm.one(OBJECTS, "Deployment")["spec"]["replicas"] == 2,
    "readOnlyRootFilesystem": SAFE["readOnlyRootFilesystem"] is True,
    "drop ALL caps": SAFE["capabilities"] == {"drop": ["ALL"]},
    "seccomp RuntimeDefault": SAFE["seccompProfile"] == {"type": "RuntimeDefault"},
    "image digest value": f"@sha256:{'0' * 64}" in json.dumps(DIGEST),
    "namespaced RBAC mode": "ClusterRole" not in {it["kind"] for it in helm.objects(NAMESPACED)},
    "resources set by default": {"cpu", "memory"} <= set(CONTAINER["resources"]["requests"]),
    "helm test / API check": helm.one(OBJECTS, "Job")["metadata"]["annotations"]["helm.sh/hook"] == "test",
}
SECOND = {
    "a short-lived projected token": not POD["automountServiceAccountToken"] and "expirationSeconds" in json.dumps(POD["volumes"]),
    "UID of 10000 or more": min(SAFE["runAsUser"], SAFE["runAsGroup"]) >= 10000,
    "no right to Secrets": not any("secrets" in rule["resources"] for rule in RULES),
    "no wildcard": not any("*" in rule["resources"] + rule["verbs"] for rule in RULES),
    "a golden file": bool(list((helm.ROOT / "tests" / "chart" / "golden").glob("*.yaml"))),
    "unknown keys refused": SCHEMA["additionalProperties"] is False,
    "cases for each alert": len(list((helm.ROOT / "tests" / "watch" / "rules").glob("*.yaml")))
    == sum("alert" in rule for group in yaml.safe_load((helm.CHART / "files" / "rules.yaml").read_text())["groups"] for rule in group["rules"]),
}  # fmt: skip


@pytest.mark.parametrize("name", [*CHECKS, *SECOND])
def test_the_chart_has_it(name: str) -> None:
    assert {**CHECKS, **SECOND}[name]


def test_the_list_is_whole() -> None:
    assert len(CHECKS) == 18
