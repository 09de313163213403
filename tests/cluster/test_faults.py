"""Jobs on a real cluster while things break around them."""

from collections.abc import Mapping
from typing import Any

import pytest

from hack.cluster import cluster as testbed
from hack.cluster import nodes
from hack.cluster.kubectl import get
from hack.cluster.layout import Node, nodes_up
from ktrain.names import CliExit
from ktrain.records import read_records
from tests.cluster.jobs import NAMESPACE, SHORT, Job, digest, ktrain, until

pytestmark = pytest.mark.slow


def started(name: str, image: str) -> Job:
    """A job that has saved once."""
    job = Job(name, image)
    assert job.submit(*SHORT).returncode == CliExit.OK
    until("a commit", lambda: _has_begun(job) and job.step() > 0)
    return job


def _has_begun(job: Job) -> bool:
    return any(it["status"]["phase"] == "Running" for it in job.pods().values())


def test_a_killed_rank_is_started_again_in_its_pod(cluster: str, undisturbed: Mapping[str, Any]) -> None:
    job = started("rank-killed", cluster)
    uids = {index: pod["metadata"]["uid"] for index, pod in job.pods().items()}
    job.kill_ranks(1)
    assert job.wait("Succeeded", "Failed") == "Succeeded"
    assert digest(job.storage(), job.head()) == undisturbed
    assert {index: pod["metadata"]["uid"] for index, pod in job.pods().items()} == uids
    assert len(read_records(job.storage()).of("start")) == 2


def test_an_api_server_that_restarts_disturbs_nothing(cluster: str, undisturbed: Mapping[str, Any]) -> None:
    job = started("api-restarted", cluster)
    testbed.restart_api()
    assert job.wait("Succeeded", "Failed") == "Succeeded"
    assert digest(job.storage(), job.head()) == undisturbed
    assert len(read_records(job.storage()).of("start")) == 1


def test_status_names_a_dead_node(cluster: str) -> None:
    job = started("node-lost", cluster)
    (operator,) = get("-n", "kubeflow", "pods")["items"]
    node = next(it for it in nodes_up() if it.name != operator["spec"]["nodeName"])
    assert node.name in {pod["spec"]["nodeName"] for pod in job.pods().values()}
    nodes.kill(node)
    try:
        told = f"node {node.name} does not answer"
        until(told, lambda: told in ktrain("status", job.name, "-n", NAMESPACE).stdout, seconds=60)
    finally:
        nodes.revive(node)
        assert ktrain("delete", job.name, "-n", NAMESPACE).returncode == CliExit.OK
        until("the node is back", lambda: _is_ready(node), seconds=90)
        until("its pods are gone", lambda: not job.pods(), seconds=120)


def _is_ready(node: Node) -> bool:
    return any(
        it["type"] == "Ready" and it["status"] == "True" for it in get("node", node.name)["status"]["conditions"]
    )
