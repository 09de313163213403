"""Prometheus beside the control plane: it scrapes, relabels and judges as the chart's monitors and rules have it."""

import json
import re
import shutil
import sys
import urllib.request
from typing import Any, Final
from urllib.parse import quote

from hack.chart import helm
from hack.cluster import daemons
from hack.cluster.layout import CONTROL, CONTROL_IP, DISCOVERY_PORT, HERE, PROMETHEUS_PORT, RUN
from hack.cluster.shell import NeedError, in_control, succeeds, wait

Object = dict[str, Any]
URL: Final = f"http://{CONTROL_IP}:{PROMETHEUS_PORT}"


def start() -> None:
    """Starts it."""
    program = shutil.which("prometheus")
    if program is None:
        raise NeedError("prometheus is not installed; `make cluster-setup` installs what the cluster needs")
    config = RUN / "prometheus.yml"  # JSON is YAML
    config.write_text(json.dumps(_config()))
    daemons.start(
        "discovery", CONTROL, sys.executable, "-m", "hack.cluster.discovery", env={"PYTHONPATH": str(HERE.parents[1])}
    )
    daemons.start(
        "prometheus", CONTROL, program, f"--config.file={config}", f"--storage.tsdb.path={RUN}/prometheus",
        f"--web.listen-address={CONTROL_IP}:{PROMETHEUS_PORT}",
    )  # fmt: skip
    wait("Prometheus", lambda: succeeds(in_control("curl", "-sf", f"{URL}/-/ready")))


def ask(query: str, *, at: str = URL) -> float:
    """The value that a query has; -1 when it has none. From inside the cluster's network."""
    with urllib.request.urlopen(f"{at}/api/v1/query?query={quote(query)}", timeout=5) as answer:
        found = json.load(answer)["data"]["result"]
    return float(found[0]["value"][1]) if found else -1.0


def _config() -> Object:
    objects = helm.objects()
    endpoint = helm.one(objects, "PodMonitor")["spec"]["podMetricsEndpoints"][0]
    controller = helm.one(objects, "ServiceMonitor")["spec"]["endpoints"][0]
    every = {"scrape_interval": "1s", "evaluation_interval": "5s"}
    rules = RUN / "rules.yml"
    rules.write_text(json.dumps(helm.one(objects, "PrometheusRule")["spec"]))
    return {
        "global": every,
        "rule_files": [str(rules)],
        "scrape_configs": [
            _scrape("training", "ktrain_dev_job", ".+", endpoint),
            _scrape("controller", "app_kubernetes_io_component", "controller", controller),
        ],
    }


def _scrape(name: str, label: str, value: str, endpoint: Object) -> Object:
    source = {"url": f"http://{CONTROL_IP}:{DISCOVERY_PORT}", "refresh_interval": "1s"}
    chosen = {"action": "keep", "source_labels": [f"__meta_kubernetes_pod_label_{label}"], "regex": value}
    return {
        "job_name": name,
        "http_sd_configs": [source],
        "honor_labels": endpoint.get("honorLabels", False),
        "metrics_path": endpoint["path"],
        "relabel_configs": [chosen, *map(_in_its_own_words, endpoint.get("relabelings", []))],
    }


def _in_its_own_words(relabeling: Object) -> Object:
    """A monitor has sourceLabels and targetLabel, Prometheus' configuration source_labels and target_label."""
    return {re.sub("[A-Z]", lambda it: f"_{it[0].lower()}", key): value for key, value in relabeling.items()}
