"""The configuration of docs/install.md for a Prometheus without the operator finds what the chart's monitors find."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

from hack.chart import helm
from tests.promtool import promtool

Labels = dict[str, str]
META = "__meta_kubernetes_"
PAGE = (helm.ROOT / "docs" / "install.md").read_text(encoding="utf-8")
SCRAPES: list[dict[str, Any]] = yaml.safe_load(PAGE.partition("```yaml\n")[2].partition("```")[0])["scrape_configs"]


def pod(name: str, labels: Labels, phase: str = "Running", port: str = "metrics") -> dict[str, Any]:
    """As Kubernetes' service discovery tells of it."""
    told = {"namespace": "ml", "pod_name": name, "pod_phase": phase, "pod_container_port_name": port}
    own = {f"pod_label_{re.sub(r'[^a-zA-Z0-9_]', '_', key)}": value for key, value in labels.items()}
    return {
        "targets": ["10.0.0.1:9400"],
        "labels": {f"{META}{key}": value for key, value in {**told, **own}.items()},
    }


TRAINS = {"app.kubernetes.io/managed-by": "ktrain", "ktrain.dev/job": "gpt"}
CONTROLS: Labels = helm.one(helm.objects(), "Deployment")["spec"]["template"]["metadata"]["labels"]
PODS = [
    pod("gpt-worker-0", TRAINS), pod("gpt-worker-1", TRAINS, port="pytorchjob-port"), pod("old-worker-0", TRAINS, "Succeeded"),
    pod("lost-worker-0", TRAINS, "Failed"), pod("controller-a", CONTROLS), pod("stranger", {"app.kubernetes.io/name": "a"}),
]  # fmt: skip


def found(job: str, folder: Path) -> list[Labels]:
    """Labels of the targets that are left, without Prometheus' own."""
    scrapes = [{**it, "static_configs": PODS} for it in SCRAPES]
    config = {"scrape_configs": [{k: v for k, v in it.items() if k != "kubernetes_sd_configs"} for it in scrapes]}
    (folder / "prometheus.json").write_text(json.dumps(config))
    told = json.loads(promtool("check", "service-discovery", "--timeout=1s", folder / "prometheus.json", job))
    kept = [it["labels"] for it in told if it.get("labels")]
    return [{name: value for name, value in labels.items() if not name.startswith("__")} for labels in kept]


def test_training_pods_that_run_are_found_with_their_job(tmp_path: Path) -> None:
    assert found("ktrain", tmp_path) == [
        {"instance": "gpt-worker-0", "job": "ktrain", "ktrain_job": "gpt", "namespace": "ml", "pod": "gpt-worker-0"}
    ]


def test_the_controller_is_found_and_believed(tmp_path: Path) -> None:
    (labels,) = found("ktrain-controller", tmp_path)
    assert (labels["namespace"], labels["pod"]) == ("ml", "controller-a")
    assert (
        SCRAPES[1]["honor_labels"] is helm.one(helm.objects(), "ServiceMonitor")["spec"]["endpoints"][0]["honorLabels"]
    )


def test_the_labels_are_the_monitors(tmp_path: Path) -> None:
    monitor = helm.one(helm.objects(), "PodMonitor")["spec"]["podMetricsEndpoints"][0]
    made = {it["targetLabel"] for it in monitor["relabelings"] if it["action"] == "replace"}
    operators = {"namespace", "pod", "job"}
    assert set(found("ktrain", tmp_path)[0]) == made | operators
