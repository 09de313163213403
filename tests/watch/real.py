"""A real Prometheus, the launchers of a real run with a real failure in it, and a real controller beside a fake API server.

What stands in for a cluster: the labels that its service discovery would give, and the operator of tests/controller, whose
pods lead to the launchers of the run.
"""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from ktrain import names
from ktrain.local.gang import free_port
from tests.controller.operator import NAMESPACE, Ledger, Operator, Replica, attempt_of, until
from tests.local.processes import children, named
from tests.watch.known import FILES

JOB: Final = "demo"
SETTINGS: Final = (
    "trainer.duration=1000000step", "trainer.checkpoint.every=[auto, 100step]", "trainer.eval.every=100step", "nodes=2",
    "procsPerNode=1",
)  # fmt: skip
META: Final = "__meta_kubernetes_"
RELABELLED: Final = {  # as the PodMonitor has it
    f"{META}namespace": "namespace", f"{META}pod_name": "pod", f"{META}pod_label_ktrain_dev_job": "ktrain_job",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Prometheus:
    """One that can be asked."""

    url: str
    begun: float

    def get(self, path: str, **query: str) -> Any:
        with urllib.request.urlopen(f"{self.url}{path}?{urllib.parse.urlencode(query)}", timeout=20) as answer:
            return json.load(answer)["data"]

    def numbers(self, query: str) -> list[float]:
        """All that it answered since it began, one a second."""
        start, end = f"{self.begun:.0f}", f"{time.time():.0f}"
        found = self.get("/api/v1/query_range", query=query, start=start, end=end, step="1")["result"]
        return [float(value) for each in found for _, value in each["values"] if value != "NaN"]


@contextmanager
def everything(folder: Path) -> Iterator[Prometheus]:
    """It has been scraped for a while: a rank was killed, a pod failed, a node was lost."""
    with ExitStack() as stack:
        run = stack.enter_context(_run(folder))
        ports = _ports(run)
        api = stack.enter_context(Ledger())
        operator = stack.enter_context(Operator(api, ip="127.0.0.1"))
        operator.add_nodes("node-0", "node-1")
        api.give_lease("first")
        operator.submit(JOB, nodes=2, resources={"nvidia.com/gpu": "4"}, metrics={"port": ports[0]})
        leader = stack.enter_context(Replica(api, folder, "first", "--node-seconds=1", "--silent-seconds=60"))
        until("it leads", lambda: leader.leads)
        prometheus = stack.enter_context(_prometheus(folder, ports, leader.port))
        _happen(prometheus, ports[1], api, operator)
        yield prometheus


def _happen(prometheus: Prometheus, launcher: int, api: Ledger, operator: Operator) -> None:
    """Each thing once Prometheus has seen what was before."""
    until(
        "two commits",
        lambda: _has(prometheus, "changes(ktrain_checkpoint_last_timestamp_seconds[1m]) >= 2"),
        seconds=90,
    )
    os.kill(_a_rank(launcher), signal.SIGKILL)
    until("its end", lambda: _has(prometheus, 'ktrain_rank_exits_total{code="137"} > 0'), seconds=60)
    until("another epoch", lambda: _has(prometheus, "ktrain_gang_epoch > 1 and on () ktrain_step > 0"), seconds=90)
    operator.fail(f"{JOB}-worker-1", 139)
    until("the failure", lambda: api.events(JOB), seconds=30)
    until("a successor", lambda: [it["status"]["phase"] for it in api.pods(JOB)] == ["Running"] * 2)
    operator.add_nodes("node-2")
    operator.set_node("node-1", is_ready=False, since=api.clock() - 100)
    until(
        "another attempt",
        lambda: attempt_of(api.job(JOB)) > 1,
        seconds=30,
        tell=lambda: f"{api.events(JOB)}\n{api.pods(JOB)}",
    )
    until("a restart", lambda: _has(prometheus, "ktrain_controller_restart_seconds_count > 0"), seconds=60)
    time.sleep(5)  # rates need a second look


def _has(prometheus: Prometheus, query: str) -> bool:
    return bool(prometheus.get("/api/v1/query", query=query)["result"])


@contextmanager
def _run(folder: Path) -> Iterator["subprocess.Popen[bytes]"]:
    program = [sys.executable, "-m", "ktrain"]
    subprocess.run([*program, "init", str(folder / JOB)], check=True, capture_output=True)
    settings = [word for it in SETTINGS for word in ("--set", it)]
    with (folder / "run.log").open("wb") as log:
        process = subprocess.Popen([*program, "run", "job.yaml", *settings], cwd=folder / JOB, stdout=log, stderr=log)
    try:
        yield process
    finally:
        process.kill()  # its guard takes the launchers along
        process.wait()


def _ports(run: "subprocess.Popen[bytes]") -> dict[int, int]:
    """By node; waits for both launchers."""
    found: dict[int, int] = {}

    def look() -> bool:
        for pid in named(children(run.pid), "ktrain_launcher"):
            pairs = (it.partition("=") for it in Path(f"/proc/{pid}/environ").read_text(encoding="utf-8").split("\0"))
            environment = {name: value for name, _, value in pairs}
            if names.ENV_NODE_RANK in environment:
                found[int(environment[names.ENV_NODE_RANK])] = int(environment[names.ENV_METRICS_PORT])
        return len(found) == 2

    until("two launchers", look, seconds=30)
    return found


def _a_rank(port: int) -> int:
    """The process of the only one of this launcher."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/status", timeout=5) as answer:
        (rank,) = json.load(answer)["ranks"]
    pid: int = rank["pid"]
    return pid


@contextmanager
def _prometheus(folder: Path, ports: dict[int, int], controller: int) -> Iterator[Prometheus]:
    config, port = folder / "prometheus.yml", free_port()
    config.write_text(json.dumps(_config(ports, controller)), encoding="utf-8")  # JSON is YAML
    with (folder / "prometheus.log").open("wb") as log:
        process = subprocess.Popen(
            ["prometheus", f"--config.file={config}", f"--storage.tsdb.path={folder}/data",
             f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log,
        )  # fmt: skip
    try:
        found = Prometheus(f"http://127.0.0.1:{port}", time.time())
        until("Prometheus", lambda: _is_ready(found))
        yield found
    finally:
        process.kill()
        process.wait()


def _is_ready(prometheus: Prometheus) -> bool:
    try:
        with urllib.request.urlopen(f"{prometheus.url}/-/ready", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def _config(ports: dict[int, int], controller: int) -> dict[str, Any]:
    pods = [_target(port, NAMESPACE, f"{JOB}-worker-{node}", JOB) for node, port in ports.items()]
    relabelled = [{"source_labels": [source], "target_label": target} for source, target in RELABELLED.items()]
    scrapes = [
        {"job_name": "launchers", "static_configs": pods, "relabel_configs": relabelled},
        {
            "job_name": "controller",
            "static_configs": [_target(controller, "ktrain-system", "ktrain-controller-0", "")],
            "relabel_configs": relabelled,
            "honor_labels": True,
        },
    ]
    often = {"scrape_interval": "1s", "evaluation_interval": "1s"}
    return {"global": often, "rule_files": [str(FILES / "rules.yaml")], "scrape_configs": scrapes}


def _target(port: int, namespace: str, pod: str, job: str) -> dict[str, Any]:
    meta = {"namespace": namespace, "pod_name": pod, "pod_label_ktrain_dev_job": job}
    return {"targets": [f"127.0.0.1:{port}"], "labels": {f"{META}{name}": value for name, value in meta.items()}}
