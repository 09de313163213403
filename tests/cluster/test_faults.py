"""Jobs on a real cluster while a part of it breaks: a node, its disk, its link to the API server, the API server itself, DNS."""

import json

import pytest

from hack.cluster import cluster as testbed
from hack.cluster import control, daemons, network, nodes
from hack.cluster.kubectl import get, kubectl
from hack.cluster.layout import bin_folder, nodes_up
from ktrain.names import CliExit
from ktrain.records import read_records
from tests.cluster.hosts import is_ready, spare
from tests.cluster.jobs import COUNT, NAMESPACE, Job, ktrain, started, until, visits

pytestmark = [pytest.mark.slow, pytest.mark.alone]


def test_an_api_server_that_restarts_disturbs_nothing(cluster: str) -> None:
    job = started("api-restarted", cluster)
    testbed.restart_api()
    assert job.wait("Succeeded", "Failed") == "Succeeded"
    assert visits(job.storage()) == {1.0}
    assert len(read_records(job.storage()).of("start")) == 1


def test_status_says_that_dns_does_not_work(cluster: str) -> None:
    """Names that nobody tells keep the gang apart; it meets as soon as they are told again."""
    job = Job("nameless", cluster, file=COUNT)
    daemons.stop("coredns")
    try:
        assert job.submit("trainer.eval.every=1000step").returncode == CliExit.OK
        told = f"DNS does not know {job.name}-worker-0"
        until(told, lambda: told in ktrain("status", job.name, "-n", NAMESPACE).stdout)
    finally:
        control.start_dns(bin_folder())
    assert job.wait("Succeeded", "Failed") == "Succeeded"
    assert visits(job.storage()) == {2.0}


def test_status_names_a_dead_node(cluster: str) -> None:
    job = started("node-lost", cluster)
    node = spare()
    assert node.name in {pod["spec"]["nodeName"] for pod in job.pods().values()}
    nodes.kill(node)
    try:
        told = f"node {node.name} does not answer"
        until(told, lambda: told in ktrain("status", job.name, "-n", NAMESPACE).stdout, seconds=60)
    finally:
        nodes.revive(node)
        assert ktrain("delete", job.name, "-n", NAMESPACE).returncode == CliExit.OK
        until("the node is back", lambda: is_ready(node), seconds=90)
        until("its pods are gone", lambda: not job.pods(), seconds=120)


def test_a_zombie_that_only_the_api_has_lost_commits_nothing(cluster: str) -> None:
    """Its node cannot reach the API server, so nobody can end it; it trains on, and S3 still answers it."""
    job = Job("zombie", cluster, file=COUNT)
    assert job.submit("nodes={min: 1, max: 1}", "trainer.eval.every=1000step").returncode == CliExit.OK
    until("a commit", lambda: bool(job.rank0()) and job.step() > 0)
    old = job.pods()[0]
    node = next(it for it in nodes_up() if it.name == old["spec"]["nodeName"])
    try:
        kubectl("cordon", node.name)
        network.cut_api(node)
        job.delete_pod(0, at_once=True)  # as whoever repairs the job does; only the API hears of it
        until("another pod", lambda: job.has_other_pods(old["metadata"]["uid"]))
        until("the zombie's last word", lambda: _refusals(job) != [])
        assert job.wait("Succeeded", "Failed") == "Succeeded"
    finally:
        network.mend(node)
        kubectl("uncordon", node.name)
    (refused,) = _refusals(job)
    assert "epoch a0001-e0002 has taken over, a0001-e0001 must not write any more" in refused
    assert visits(job.storage()) == {2.0}
    until("the node is back", lambda: is_ready(node), seconds=90)


def _refusals(job: Job) -> list[str]:
    """What launchers of the first epoch wrote of commits that were refused."""
    storage = job.storage()
    found = [json.loads(storage.get(stat.key)[0]) for stat in storage.list("state/verdict-a0001-e0001")]
    return [it["message"] for it in found if "must not write any more" in it["message"]]


def test_a_drained_node_is_left_and_not_missed(cluster: str) -> None:
    job = started("drained", cluster)
    node = spare()
    drain = ("drain", node.name, "--delete-emptydir-data", "--ignore-daemonsets", "--timeout=60s")
    kubectl(*drain, f"--pod-selector=training.kubeflow.org/job-name={job.name}")
    try:
        until("all pods elsewhere", lambda: _are_on(job) == {it.name for it in nodes_up() if it != node})
        assert job.wait("Succeeded", "Failed") == "Succeeded"
    finally:
        kubectl("uncordon", node.name)
    assert visits(job.storage()) == {1.0}


def test_a_node_whose_disk_is_full_evicts_and_the_job_goes_on(cluster: str) -> None:
    job = started("pressed", cluster)
    node = spare()
    full = node.folder / "kubelet" / "full"
    try:
        with full.open("wb") as file:
            for _ in range(1800):  # of 2 GiB, of which a fifth must stay free
                file.write(b"\0" * (1 << 20))
        until("the pod is elsewhere", lambda: _are_on(job) == {it.name for it in nodes_up() if it != node})
    finally:
        full.unlink()
    assert job.wait("Succeeded", "Failed") == "Succeeded"
    assert visits(job.storage()) == {1.0}
    until("no pressure", lambda: not get("node", node.name)["spec"].get("taints"), seconds=90)


def _are_on(job: Job) -> set[str]:
    """Nodes of the pods, once both run."""
    pods = [it for it in job.pods().values() if it["status"]["phase"] == "Running"]
    return {it["spec"]["nodeName"] for it in pods} if len(pods) == 2 else set()
