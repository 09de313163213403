"""Jobs that Kueue owns are paused and resumed through their Workload."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest

from ktrain.cluster import WORKLOAD, Cluster
from ktrain.errors import ForbiddenError, MissingError, NoKindError, SpecError, TakenError, TimedOutError
from ktrain.jobs.find import is_suspended
from ktrain.jobs.pause import Waiting, keep_suspended, resume, suspend
from ktrain.jobs.workload import AT_ONCE, find_workload, held_by
from ktrain.names import ANNOTATION_PAUSE, ANNOTATION_REQUEST, ANNOTATION_STATE, LABEL_JOB_UID, LABEL_QUEUE, CliExit
from ktrain_controller.state import Release, State, read_state
from tests.cli.test_cli import ktrain
from tests.controller.fake_objects import TABLES, Object, Table
from tests.controller.operator import NAMESPACE, Ledger, Operator, until
from tests.kueue import Kueue

SOON: Final = Waiting(5, lambda _: None)
PAUSE: Final = State(release=Release(2e9, "StartTimeout"))


@pytest.fixture
def api() -> Iterator[Ledger]:
    with Ledger() as api, Operator(api) as operator:
        operator.add_nodes("node-0")
        operator.submit("demo", scheduling={"queue": "gpu"})
        yield api


@pytest.fixture
def cluster(api: Ledger, tmp_path: Path) -> Cluster:
    return api.connect(tmp_path)


@pytest.fixture
def kueue(cluster: Cluster) -> Iterator[Kueue]:
    with Kueue(cluster, NAMESPACE) as kueue:
        yield kueue


def job(api: Ledger) -> Object:
    return api.job("demo")


def workload(api: Ledger) -> Object:
    (found,) = api.all("workloads")
    return found


def run(api: Ledger) -> Object:
    """Until all its pods are there, and it has been admitted."""
    until("it runs", lambda: len(api.pods("demo")) == 2 and api.all("workloads") != [])
    until("it is admitted", lambda: workload(api)["status"] and not is_suspended(job(api)))
    until("its pods run", lambda: all(it["status"]["phase"] == "Running" for it in api.pods("demo")))
    return job(api)


def wait_in_queue(api: Ledger, kueue: Kueue) -> Object:
    kueue.has_quota = False
    until("it waits", lambda: is_suspended(job(api)) and not api.pods("demo"))
    return job(api)


# -- suspend, resume ---------------------------------------------------------------------------------------------------
def test_a_queued_job_is_paused_by_its_workload_and_nobody_starts_it_again(
    api: Ledger, cluster: Cluster, kueue: Kueue
) -> None:
    assert suspend(cluster, run(api), save=False, waiting=SOON) is None
    assert (workload(api)["spec"]["active"], is_suspended(job(api)), api.pods("demo")) == (False, True, [])
    assert keep_suspended(cluster, job(api)) == "is suspended already"
    assert resume(cluster, job(api)) == 2
    run(api)
    assert workload(api)["spec"]["active"] is True


def asked(api: Ledger) -> int:
    """How many of its launchers were asked for something."""
    return sum(ANNOTATION_REQUEST in it["metadata"]["annotations"] for it in api.pods("demo"))


def test_nobodys_ranks_are_asked_to_stop_for_a_pause_that_is_refused(
    api: Ledger, cluster: Cluster, kueue: Kueue
) -> None:
    now = run(api)
    api.faults.forbidden.add(("PATCH", "workloads"))
    with pytest.raises(ForbiddenError, match=r"ask for list and patch on workloads\.kueue\.x-k8s\.io"):
        suspend(cluster, now, save=True, waiting=SOON)
    assert (asked(api), workload(api)["spec"]["active"]) == (0, True)


def test_its_ranks_are_asked_before_its_workload_is_touched(api: Ledger, cluster: Cluster, kueue: Kueue) -> None:
    """Here nobody can read their answer, and so nothing is paused."""
    now = run(api)
    with pytest.raises(MissingError, match="has no ConfigMap with its spec"):
        suspend(cluster, now, save=True, waiting=SOON)
    assert (asked(api), workload(api)["spec"]["active"]) == (1, True)


def test_a_job_that_waits_for_admission_can_be_paused_too(api: Ledger, cluster: Cluster, kueue: Kueue) -> None:
    waiting = wait_in_queue(api, kueue)
    with pytest.raises(TakenError, match="job demo is not paused: it waits for admission: couldn't assign flavors"):
        resume(cluster, waiting)
    assert keep_suspended(cluster, waiting) == "waited for admission, and is suspended now"
    kueue.has_quota = True
    assert workload(api)["spec"]["active"] is False


def test_a_pause_of_the_controller_becomes_the_users(api: Ledger, cluster: Cluster, kueue: Kueue) -> None:
    held = wait_in_queue(api, kueue)
    api.put("pytorchjobs", {**held, "metadata": held["metadata"] | {"annotations": {ANNOTATION_STATE: PAUSE.encode()}}})
    mark = {"metadata": {"annotations": {ANNOTATION_PAUSE: "1.0"}}, "spec": {"active": False}}
    cluster.patch(WORKLOAD, NAMESPACE, workload(api)["metadata"]["name"], mark)
    assert keep_suspended(cluster, job(api)) == "was paused by the controller; the pause is yours now"
    assert read_state(job(api)["metadata"]["annotations"][ANNOTATION_STATE]).release is None
    assert ANNOTATION_PAUSE not in workload(api)["metadata"]["annotations"]


def test_another_number_of_nodes_is_refused_in_a_sentence(api: Ledger, cluster: Cluster, kueue: Kueue) -> None:
    suspend(cluster, run(api), save=False, waiting=SOON)
    before = job(api)
    with pytest.raises(SpecError, match=r"--nodes 1: job demo is in Kueue's queue gpu with 2 nodes, and Kueue stops"):
        resume(cluster, before, nodes=1)
    assert (job(api), workload(api)["spec"]["active"]) == (before, False)
    assert resume(cluster, before, nodes=2) == 2


def test_a_job_that_runs_is_not_resumed(api: Ledger, cluster: Cluster, kueue: Kueue) -> None:
    with pytest.raises(TakenError, match="job demo is not paused: it may run"):
        resume(cluster, run(api))


def test_a_kueue_that_does_nothing_is_named(api: Ledger, cluster: Cluster) -> None:
    Kueue(cluster, NAMESPACE).step()
    until("it runs", lambda: len(api.pods("demo")) == 2)
    with pytest.raises(TimedOutError, match=r"its Workload is inactive \(does Kueue run\?\), but demo-worker-0"):
        suspend(cluster, job(api), save=False, waiting=Waiting(0.1, lambda _: None))


def test_without_a_workload_it_is_said_what_is_missing(api: Ledger, cluster: Cluster) -> None:
    with pytest.raises(
        MissingError, match="queue gpu, but Kueue has made no Workload for it; see to it that Kueue man"
    ):
        suspend(cluster, job(api), save=False, waiting=SOON)
    assert not is_suspended(job(api))


def test_without_kueue_it_is_said_what_to_install(
    api: Ledger, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(TABLES, "workloads")
    with pytest.raises(NoKindError, match="but this cluster knows no Workload; install Kueue, or `ktrain submit --rep"):
        resume(cluster, job(api))


def test_an_older_kueue_is_understood(api: Ledger, cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TABLES, "workloads", Table("apis/kueue.x-k8s.io/v1beta1", "Workload"))
    api.put("workloads", owned("a", job(api)["metadata"]["uid"]))
    assert keep_suspended(cluster, job(api)) == "waited for admission, and is suspended now"
    assert workload(api)["spec"]["active"] is False


def test_a_sentence_is_all_that_a_user_sees(api: Ledger, tmp_path: Path) -> None:
    config = tmp_path / "config"
    config.write_text(api.kubeconfig, encoding="utf-8")
    done = ktrain("suspend", "demo", "-n", NAMESPACE, KUBECONFIG=str(config))
    assert (done.returncode, done.stderr.count("error:")) == (CliExit.NOT_FOUND, 1), done.stderr
    assert "Kueue has made no Workload for it" in done.stderr


# -- which Workload is whose -------------------------------------------------------------------------------------------
def owned(name: str, uid: str, *, label: str = "", at: str = "2026-11-21T10:00:00Z") -> Object:
    head = {"name": name, "namespace": NAMESPACE, "labels": {LABEL_JOB_UID: label or uid}, "creationTimestamp": at}
    return {"metadata": {**head, "ownerReferences": [{"uid": uid}]}, "spec": {}}


def test_a_workload_is_its_owners_whatever_its_label_says(api: Ledger, cluster: Cluster) -> None:
    api.put("workloads", owned("a", "other", label="j"))
    assert find_workload(cluster, NAMESPACE, "j") is None


def test_of_two_the_newer_one_counts(api: Ledger, cluster: Cluster) -> None:
    for name, hour in (("a", "12"), ("b", "11")):
        api.put("workloads", owned(name, "j", at=f"2026-11-21T{hour}:00:00Z"))
    found = find_workload(cluster, NAMESPACE, "j")
    assert found is not None
    assert (found.name, found.is_active) == ("a", True)


def test_only_jobs_that_kueue_may_hold_back_are_asked_about(cluster: Cluster, api: Ledger) -> None:
    count = 2 * AT_ONCE + 1
    for number in range(count):
        api.put("workloads", owned(f"w{number}", f"u{number}"))
    jobs = [queued(f"u{number}") for number in range(count)]
    before = len(api.requests)
    assert len(held_by(cluster, [*jobs, queued("running", suspend=False), queued("plain", queue="")])) == count
    assert [it.path for it in api.requests[before:]] == [f"/apis/{WORKLOAD.api}/namespaces/{NAMESPACE}/workloads"] * 3


def queued(uid: str, *, suspend: bool = True, queue: str = "gpu") -> Object:
    meta = {"uid": uid, "namespace": NAMESPACE, "labels": {LABEL_QUEUE: queue}}
    return {"metadata": meta, "spec": {"runPolicy": {"suspend": suspend}}}
