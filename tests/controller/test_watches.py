"""Which changes in the cluster wake which jobs."""

import pytest

from ktrain.cluster import Cluster
from ktrain_controller.metrics import Metrics
from ktrain_controller.model import Node
from ktrain_controller.watches import Watches
from tests.controller.fake_api import FakeApi
from tests.controller.seen import job, node, pod

DEMO = "research/demo"


@pytest.fixture
def woken(tmp_path_factory: pytest.TempPathFactory) -> tuple[Watches, list[str]]:
    """Two pods of a job, on node-0 and node-1; nothing is asked of the server."""
    with FakeApi() as api:
        cluster: Cluster = api.connect(tmp_path_factory.mktemp("kube"))
    made = Watches.of(cluster, "", Metrics(), lambda *_, **__: None, has_nodes=True)
    heard: list[str] = []
    made.wake(heard.append)
    made.pods.store.replace([pod(0), pod(1)])
    heard.clear()
    return made, heard


def nodes(watches: Watches, *known: Node) -> None:
    assert watches.nodes is not None
    watches.nodes.store.replace(known)


def test_a_job_wakes_itself(woken: tuple[Watches, list[str]]) -> None:
    watches, heard = woken
    watches.jobs.store.replace([job()])
    assert heard == [DEMO]


def test_a_node_that_is_well_wakes_nobody_however_it_comes(woken: tuple[Watches, list[str]]) -> None:
    """The first list of a large cluster would look through all pods for each of its nodes."""
    watches, heard = woken
    nodes(watches, node("node-0"), node("node-1"))
    nodes(watches, node("node-0", version="4"), node("node-1", since=5.0))
    assert heard == []


@pytest.mark.parametrize(
    "then",
    [(node("node-0", is_ready=False),), (node("node-0", notice="ktrain.dev/leaving"),), ()],
    ids=["not ready", "leaving", "gone"],
)
def test_a_node_that_is_not_wakes_the_jobs_that_have_pods_there_once(
    woken: tuple[Watches, list[str]], then: tuple[Node, ...]
) -> None:
    watches, heard = woken
    nodes(watches, node("node-0"))
    nodes(watches, *then)
    assert heard == [DEMO]


def test_a_node_that_is_bad_when_it_is_first_heard_of_wakes_them_too(woken: tuple[Watches, list[str]]) -> None:
    watches, heard = woken
    nodes(watches, node("node-1", is_ready=False), node("node-7", is_ready=False))
    assert heard == [DEMO]
