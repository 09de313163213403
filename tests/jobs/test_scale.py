"""Another number of pods for a job that runs."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ktrain.cluster import Cluster
from ktrain.errors import SpecError, TakenError
from ktrain.jobs.find import needed
from ktrain.jobs.scale import scale
from ktrain.names import ENV_NUM_NODES, LABEL_QUEUE
from ktrain.render import render
from tests.controller.operator import NAMESPACE, Ledger
from tests.render.test_render import job as spec

Object = dict[str, Any]


@pytest.fixture
def api() -> Iterator[Ledger]:
    with Ledger() as api:
        yield api


@pytest.fixture
def cluster(api: Ledger, tmp_path: Path) -> Cluster:
    return api.connect(tmp_path)


def submitted(api: Ledger, nodes: Any) -> Object:
    config, made = render(spec(nodes=nodes))
    for it in (config, made):
        it["metadata"]["namespace"] = NAMESPACE
    api.put("configmaps", config)
    api.put("pytorchjobs", made)
    return api.job("demo")


def told(job: Object) -> str:
    (container,) = job["spec"]["pytorchReplicaSpecs"]["Worker"]["template"]["spec"]["containers"]
    return next(str(it["value"]) for it in container["env"] if it["name"] == ENV_NUM_NODES)


def test_an_elastic_job_gets_as_many_as_it_may_have(api: Ledger, cluster: Cluster) -> None:
    job = submitted(api, {"min": 1, "max": 4})
    assert scale(cluster, job, 2) == 4
    now = api.job("demo")
    assert (now["spec"]["pytorchReplicaSpecs"]["Worker"]["replicas"], told(now)) == (2, "2")
    assert now["spec"]["runPolicy"] == job["spec"]["runPolicy"]
    with pytest.raises(TakenError):  # as it was read before
        scale(cluster, job, 3)
    assert api.job("demo") == now


@pytest.mark.parametrize(
    ("nodes", "change", "error", "message"),
    [
        ({"min": 1, "max": 4}, {}, SpecError, "--nodes 5: spec.nodes of this job allows 1 to 4"),
        (2, {}, SpecError, "allows 2 to 2; an elastic job says"),
        ({"min": 1, "max": 4}, {"spec": {"runPolicy": {"suspend": True}}}, TakenError, "`ktrain resume demo --nodes 5`"),
        ({"min": 1, "max": 4}, {"metadata": {"labels": {LABEL_QUEUE: "gpu"}}}, SpecError, "is admitted by Kueue"),
        ({"min": 1, "max": 4}, {"status": {"conditions": [{"type": "Succeeded", "status": "True"}]}}, TakenError, "has ended"),
    ],
    ids=["too many", "not elastic", "suspended", "queued", "ended"],
)  # fmt: skip
def test_what_cannot_be_is_told(
    api: Ledger, cluster: Cluster, nodes: Any, change: Object, error: type[Exception], message: str
) -> None:
    job = submitted(api, nodes)
    before = json.dumps(api.job("demo"))
    with pytest.raises(error, match=message.replace(".", r"\.").replace("`", "`")):
        scale(cluster, {**job, **{part: job.get(part, {}) | more for part, more in change.items()}}, 5)
    assert json.dumps(api.job("demo")) == before


@pytest.mark.parametrize(
    ("nodes", "annotations", "count"),
    [(2, None, 2), ({"min": 1, "max": 4}, None, 1), ({"min": 3, "max": 4}, None, 3), ({"min": 1, "max": 4}, {}, 4)],
    ids=["fixed", "one", "three", "garbled"],
)
def test_how_many_pods_a_job_needs_to_train(nodes: Any, annotations: Object | None, count: int) -> None:
    _, made = render(spec(nodes=nodes))
    if annotations is not None:
        made["metadata"]["annotations"] = annotations
    assert needed(made) == count
