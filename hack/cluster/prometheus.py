"""Prometheus beside the control plane, scraping every pod that has a port called metrics."""

import json
import shutil
import sys
from typing import Final

from hack.cluster import daemons
from hack.cluster.layout import CONTROL, CONTROL_IP, DISCOVERY_PORT, HERE, PROMETHEUS_PORT, RUN
from hack.cluster.shell import NeedError, in_control, succeeds, wait

URL: Final = f"http://{CONTROL_IP}:{PROMETHEUS_PORT}"


def start() -> None:
    """Starts it."""
    program = shutil.which("prometheus")
    if program is None:
        raise NeedError("prometheus is not installed; `make cluster-setup` installs what the cluster needs")
    config = RUN / "prometheus.yml"  # JSON is YAML
    config.write_text(json.dumps({"global": {"scrape_interval": "1s"}, "scrape_configs": [_pods()]}))
    daemons.start(
        "discovery", CONTROL, sys.executable, "-m", "hack.cluster.discovery", env={"PYTHONPATH": str(HERE.parents[1])}
    )
    daemons.start(
        "prometheus", CONTROL, program, f"--config.file={config}", f"--storage.tsdb.path={RUN}/prometheus",
        f"--web.listen-address={CONTROL_IP}:{PROMETHEUS_PORT}",
    )  # fmt: skip
    wait("Prometheus", lambda: succeeds(in_control("curl", "-sf", f"{URL}/-/ready")))


def _pods() -> dict[str, object]:
    source = {"url": f"http://{CONTROL_IP}:{DISCOVERY_PORT}", "refresh_interval": "1s"}
    return {"job_name": "pods", "http_sd_configs": [source]}
