"""The chart beside the Prometheus operator: its monitors and rules are found, and do what they are for."""

import json
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from hack.chart.helm import CHART, helm
from hack.cluster import monitoring, prometheus
from tests.cluster import release
from tests.cluster.jobs import NAMESPACE, Job, started, until

pytestmark = [pytest.mark.slow, pytest.mark.alone]  # it looks after the jobs of all namespaces
OFTEN = ("--set=podMonitor.interval=1s", "--set=serviceMonitor.interval=1s")
MONITORS = ("podMonitor/ktrain-release/ktrain-training/0", "serviceMonitor/ktrain-release/ktrain-controller/0")


@pytest.fixture(scope="module")
def job(cluster: str, packaged: Path) -> Iterator[Job]:
    """It trains, the release looks after it, and Prometheus has both from the operator."""
    monitoring.start_operator()
    try:
        with release.installed(packaged, *OFTEN) as told:
            assert "Without monitors" not in told
            monitoring.start_prometheus(*MONITORS)
            job = started("monitored", cluster, "trainer.duration=200ep")
            yield job
            job.end()
    finally:
        monitoring.stop()


def ask(query: str) -> float:
    return prometheus.ask(query, at=monitoring.URL)


def page(name: str) -> Any:
    with urllib.request.urlopen(f"{monitoring.URL}/api/v1/{name}", timeout=5) as answer:
        return json.load(answer)["data"]


def test_every_pod_of_a_job_is_found_and_named_by_its_job(job: Job) -> None:
    mine = f'namespace="{NAMESPACE}",ktrain_job="{job.name}"'
    until("both pods are scraped", lambda: ask(f"count(up{{{mine}}} == 1)") == 2)
    until("it steps", lambda: ask(f"max(ktrain_step{{{mine}}})") > 0)
    found = [it["labels"] for it in page("targets?state=active")["activeTargets"] if it["labels"].get("ktrain_job")]
    assert {it["instance"] for it in found} >= {f"{job.name}-worker-0", f"{job.name}-worker-1"}
    assert not {"container", "endpoint"} & {label for it in found for label in it}


def test_controllers_are_found_and_their_jobs_keep_their_own_namespace(job: Job) -> None:
    until("both are scraped", lambda: ask('count(up{namespace="ktrain-release",job="ktrain-controller"} == 1)') == 2)
    until(
        "it tells of jobs", lambda: ask(f'ktrain_job_attempt{{namespace="{NAMESPACE}",ktrain_job="{job.name}"}}') == 1
    )


def test_the_rules_are_loaded_and_have_what_they_ask_for(job: Job) -> None:
    until("they are evaluated", lambda: ask("sum(ktrain_job:running:max)") >= 1)
    loaded = [rule for group in page("rules")["groups"] for rule in group["rules"]]
    wanted = [
        rule
        for group in yaml.safe_load((CHART / "files" / "rules.yaml").read_text())["groups"]
        for rule in group["rules"]
    ]
    assert sorted(it["name"] for it in loaded) == sorted(it.get("alert") or it["record"] for it in wanted)
    assert [it["name"] for it in loaded if it.get("lastError")] == []


def test_what_is_uninstalled_is_not_looked_for_any_more(job: Job) -> None:
    helm("uninstall", "ktrain", "-n", release.HOME, "--wait")
    until("the operator has seen it", lambda: not any(it in monitoring.configuration() for it in MONITORS))
