"""The controller while a part of the cluster breaks: a node, its link, the API server, Prometheus."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.cluster import cluster as testbed
from hack.cluster import controller, daemons, network, nodes, prometheus
from hack.cluster.kubectl import kubectl
from hack.cluster.layout import nodes_up
from ktrain.cluster import JOB
from ktrain.records import read_records
from tests.cluster import release
from tests.cluster.hosts import is_ready, spare
from tests.cluster.jobs import COUNT, ELASTIC, Job, admin, started, until, visits
from tests.cluster.steer import STEERED, attempt, document, events, in_haste, prepare, reasons, state, uids

pytestmark = [pytest.mark.slow, pytest.mark.alone]


@pytest.fixture(scope="module")
def steered(cluster: str, packaged: Path) -> Iterator[str]:
    """The chart's controllers of all namespaces, which also ask Prometheus; returns the worker image."""
    prepare()
    with release.installed(packaged, in_haste(), f"--set=controller.prometheus={prometheus.URL}"):
        yield cluster


def test_a_dead_nodes_pod_is_replaced_elsewhere_at_no_charge(steered: str) -> None:
    job = started("node-dead", steered, "trainer.duration=4ep", namespace=STEERED)
    node = spare()
    lost = next(it for it in job.pods().values() if it["spec"]["nodeName"] == node.name)["metadata"]["uid"]
    nodes.kill(node)
    try:
        until("replaced", lambda: lost not in uids(job) and len(uids(job)) == 2)
        assert job.wait("Succeeded", "Failed") == "Succeeded"
    finally:
        nodes.revive(node)
        until("the node is back", lambda: is_ready(node), seconds=90)
    assert visits(job.storage()) == {4.0}
    assert f"node {node.name} does not answer" in events(job)["NodeLost"]
    # A launcher that is silent for longer than the node's own word takes is asked for its stacks first: only a question.
    assert [reason for reason in reasons(job) if reason != "Stalled"] == ["NodeLost"]
    assert state(job).incidents == ()
    assert attempt(job) == 2
    assert state(job).avoid.keys() == {node.name}


def test_a_zombie_on_a_node_that_comes_back_commits_nothing(steered: str) -> None:
    """Only the API has lost the node; its pod trains on, and S3 still answers it."""
    job = Job("cut-off", steered, nodes="{min: 1, max: 1}", file=COUNT, namespace=STEERED)
    kubectl("cordon", next(it for it in nodes_up() if it != spare()).name)
    assert job.submit("trainer.eval.every=1000step").returncode == 0
    until("a commit", lambda: bool(job.rank0()) and job.step() > 0)
    old, node = job.pods()[0]["metadata"]["uid"], spare()
    try:
        kubectl("uncordon", next(it for it in nodes_up() if it != node).name)
        network.cut_api(node)
        until("another pod", lambda: job.has_other_pods(old))
        assert job.wait("Succeeded", "Failed") == "Succeeded"
    finally:
        network.mend(node)
        until("the node is back", lambda: is_ready(node), seconds=90)
    told = [json.loads(job.storage().get(it.key)[0])["message"] for it in job.storage().list("state/verdict-a0001")]
    assert any("has taken over, a0001-e0001 must not write any more" in message for message in told), told
    assert visits(job.storage()) == {2.0}
    assert reasons(job) == ["NodeLost"]


def test_an_api_server_that_restarts_costs_no_restart(steered: str) -> None:
    job = started("api-away", steered, namespace=STEERED)
    testbed.restart_api()
    assert job.wait("Succeeded", "Failed") == "Succeeded"
    assert len(read_records(job.storage()).of("start")) == 1
    assert reasons(job) == []


def test_a_query_decides_how_many_nodes_and_each_sample_is_seen_once(steered: str) -> None:
    """One node, two from step 100 on, one again from step 300 on."""
    step = "max(ktrain_step{namespace='steered'})"
    query = f"0.5 + 1.5 * scalar(({step} > bool 100) * ({step} < bool 300))"
    scale = f'autoscale={{query: "{query}", target: 1, min: 1, max: 2, cooldown: 1s}}'
    job = started("scaled", steered, ELASTIC, "trainer.duration=4ep", scale, namespace=STEERED)
    assert job.wait("Succeeded", "Failed") == "Succeeded"
    assert visits(job.storage()) == {4.0}
    worlds = [it["world_size"] for it in read_records(job.storage()).all if it["kind"] == "start"]
    assert worlds == [2, 1, 2, 1]
    assert reasons(job).count("Rescaled") == 3
    assert state(job).incidents == ()


def test_a_job_ends_though_a_pod_of_it_never_finds_a_node(steered: str) -> None:
    job = Job("short-handed", steered, file=COUNT, namespace=STEERED)
    big, there = (
        "resources={cpu: 200m, memory: 13Gi}",
        f"scheduling.nodeSelector={{kubernetes.io/hostname: {spare().name}}}",
    )
    told = job.submit(ELASTIC, "trainer.duration=1ep", big, there)  # two of them are more than the node has
    assert told.returncode == 0, told.stderr
    assert job.wait("Succeeded", "Failed") == "Succeeded"
    assert visits(job.storage()) == {1.0}
    assert reasons(job) == ["Finished"]
    assert document(job)["spec"]["pytorchReplicaSpecs"]["Worker"]["replicas"] == 1


def test_without_prometheus_nothing_is_rescaled(steered: str) -> None:
    daemons.stop("prometheus")
    discovery = daemons.pid_of("discovery")
    try:
        scale = 'autoscale={query: "vector(0.1)", target: 1, min: 1, max: 2, cooldown: 1s}'
        job = started("held", steered, ELASTIC, scale, namespace=STEERED)
        assert job.wait("Succeeded", "Failed") == "Succeeded"
    finally:
        prometheus.start()
    assert daemons.pid_of("discovery") == discovery  # a second one would leave the first behind for good
    assert (attempt(job), reasons(job)) == (1, [])


def test_a_job_past_its_deadline_ends_and_one_past_its_time_to_live_goes(steered: str) -> None:
    job = Job("late", steered, file=COUNT, namespace=STEERED)
    assert job.submit("trainer.duration=99ep", "deadline=15s", "ttl=5s").returncode == 0
    assert job.wait("Failed") == "Failed"
    assert "took longer than 15s" in document(job)["status"]["conditions"][-1]["message"]
    until("the object is gone", lambda: admin().find(JOB, STEERED, job.name) is None)


def test_it_uses_exactly_the_rights_that_it_has(steered: str) -> None:
    """Both ways: nothing was refused for good, and nothing is granted that was not used."""
    used: set[tuple[str, str, str]] = set()
    refused: set[tuple[str, str, str]] = set()
    for line in controller.audited():
        target = line["objectRef"]
        name = "/".join(part for part in (target["resource"], target.get("subresource")) if part)
        # For a moment after its start an API server knows no roles: what is allowed later was not refused.
        (refused if line["responseStatus"]["code"] == 403 else used).add(
            (target.get("apiGroup", ""), name, line["verb"])
        )
    granted = {
        (group, resource, verb)
        for rule in (*controller.rules(has_nodes=True), *controller.lease_rules())
        for group in rule["apiGroups"]
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }
    assert used == granted
    assert refused <= used
