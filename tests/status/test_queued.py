"""Why a job of Kueue's does not run, in Kueue's own words."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ktrain.cluster import WORKLOAD, Cluster
from ktrain.jobs.admission import admission
from ktrain.jobs.workload import Workload
from ktrain.names import ANNOTATION_STATE, LABEL_QUEUE
from ktrain.status.observe import observe
from ktrain.status.table import rows
from ktrain.status.why import state
from ktrain.status.word import reason, word
from ktrain_controller.state import Past, Release, State
from tests.cli.test_cli import ktrain
from tests.controller.operator import NAMESPACE, Ledger, Operator, until
from tests.kueue import ADMITTED, EVICTED, NO_QUOTA, PENDING, Kueue, Told

Object = dict[str, Any]
RELEASED = State(release=Release(2e9, "StartTimeout"), decisions=(Past(1.0, "start", "StartTimeout", "no GPU"),))


def workload(told: Told, *, active: bool | None = True, **status: Any) -> Object:
    conditions = [{"type": name, "status": it[0], "reason": it[1], "message": it[2]} for name, it in told.items()]
    spec = {} if active is None else {"active": active}
    meta = {"name": "w", "namespace": NAMESPACE, "uid": "w-1", "resourceVersion": "3"}
    return {"metadata": meta, "spec": spec, "status": {"conditions": conditions, **status}}


EXHAUSTED = "The workload is deactivated due to exceeding the maximum number of re-queuing retries"
RESERVED = {"QuotaReserved": ADMITTED["QuotaReserved"]}
CHECKS = [
    {"name": "budget", "state": "Ready", "message": ""},
    {"name": "capacity", "state": "Pending", "message": "no\nVM"},
]


@pytest.mark.parametrize(
    ("document", "told"),
    [
        (workload({}), "Kueue has not looked at it yet"),
        ({"metadata": {}, "spec": {}}, "Kueue has not looked at it yet"),
        (workload(PENDING), NO_QUOTA),
        (workload(PENDING, active=None), NO_QUOTA),
        (workload(ADMITTED), ""),
        (workload(EVICTED, active=False), "The workload is deactivated"),
        (workload({"Evicted": ("True", "Deactivated", EXHAUSTED)}, active=False), EXHAUSTED),
        (workload(ADMITTED, active=False), ""),
        (workload(EVICTED), "The workload is deactivated"),
        (workload(RESERVED, admission={"clusterQueue": "gpus"}, admissionChecks=CHECKS), "its quota in gpus is reserved, admission check capacity is Pending (no VM)"),
        (workload(RESERVED), "its quota is reserved, admission check is not ready"),
    ],
    ids=["new", "no status", "no quota", "by default", "admitted", "inactive", "given up", "not yet evicted", "active again", "check", "no check"],
)  # fmt: skip
def test_kueues_own_words_are_told(document: Object, told: str) -> None:
    assert admission(document) == told


def job(*, annotation: str = "", ended: bool = False) -> Object:
    conditions = [{"type": "Failed", "status": "True", "message": "boom"}] if ended else []
    meta = {"labels": {LABEL_QUEUE: "gpu"}, "annotations": {ANNOTATION_STATE: annotation}}
    return {"metadata": meta, "spec": {"runPolicy": {"suspend": True}}, "status": {"conditions": conditions}}


@pytest.mark.parametrize(
    ("made", "document", "what", "why"),
    [
        (job(), workload(PENDING), "queued", f"waits for admission to queue gpu: {NO_QUOTA}"),
        (job(), workload(ADMITTED), "queued", "waits for admission to queue gpu: Kueue has admitted it just now"),
        (job(), workload(EVICTED, active=False), "suspended", "paused by its Workload w: The workload is deactivated"),
        (job(), workload(ADMITTED, active=False), "suspended", "paused by its Workload w"),
        (job(), None, "suspended", ""),
        (job(annotation=RELEASED.encode()), workload(EVICTED, active=False), "paused", "StartTimeout: no GPU"),
        (job(annotation=RELEASED.encode()), None, "paused", "StartTimeout: no GPU"),
        (job(annotation=RELEASED.encode()), workload(PENDING), "queued", f"waits for admission to queue gpu: {NO_QUOTA}"),
        (job(ended=True), workload(PENDING), "failed", "boom"),
    ],
    ids=["queued", "about to run", "suspended", "being suspended", "unknown", "paused", "paused blindly", "pause ended", "failed"],
)  # fmt: skip
def test_a_suspended_job_is_told_by_its_workload(made: Object, document: Object | None, what: str, why: str) -> None:
    found = Workload.read(WORKLOAD, document) if document else None
    assert (word(made, found), reason(made, found)) == (what, why)


# -- the commands ------------------------------------------------------------------------------------------------------
@pytest.fixture
def api() -> Iterator[Ledger]:
    with Ledger() as api, Operator(api) as operator:
        operator.add_nodes("node-0")
        operator.submit("demo", scheduling={"queue": "gpu"})
        yield api


@pytest.fixture
def cluster(api: Ledger, tmp_path: Path) -> Cluster:
    """With a Kueue that has no quota; the job has no pods."""
    cluster = api.connect(tmp_path)
    kueue = Kueue(cluster, NAMESPACE)
    kueue.has_quota = False
    kueue.step()
    kueue.step()
    until("it waits", lambda: not api.pods("demo") and api.job("demo")["spec"]["runPolicy"]["suspend"])
    return cluster


def told(cluster: Cluster) -> tuple[str, str]:
    found = state(observe(cluster, NAMESPACE, "demo"))
    return found.what, found.why


def test_status_and_top_say_what_kueue_says(api: Ledger, cluster: Cluster) -> None:
    assert told(cluster) == ("queued", f"waits for admission to queue gpu: {NO_QUOTA}")
    assert [row.state for row in rows(cluster, NAMESPACE)] == ["queued"]


def test_a_workload_that_may_not_be_read_is_a_note_and_no_error(api: Ledger, cluster: Cluster) -> None:
    api.faults.forbidden.add(("GET", "workloads"))
    facts = observe(cluster, NAMESPACE, "demo")
    assert [
        line for line in facts.blind if line.startswith("its Workload: the cluster refuses: workloads is forbidden")
    ]
    assert state(facts).what == "suspended"
    assert state(facts).why.startswith("it is to run through queue gpu, and there is no Workload")
    assert [row.state for row in rows(cluster, NAMESPACE)] == ["suspended"]


def test_the_list_has_it_too(api: Ledger, cluster: Cluster, tmp_path: Path) -> None:
    config = str(tmp_path / "kubeconfig")
    (row,) = json.loads(ktrain("list", "-n", NAMESPACE, "-o", "json", KUBECONFIG=config).stdout)
    assert (row["state"], row["reason"]) == ("queued", f"waits for admission to queue gpu: {NO_QUOTA}")
    api.faults.forbidden.add(("GET", "workloads"))
    done = ktrain("list", "-n", NAMESPACE, "-o", "json", KUBECONFIG=config)
    assert json.loads(done.stdout)[0]["state"] == "suspended"
    assert "note: not asked: Workloads: the cluster refuses" in done.stderr
