"""Jobs that Kueue owns, on a real API server that knows its Workload: the test plays Kueue itself."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pytest

from hack.cluster import controller, daemons
from hack.cluster import kueue as definitions
from ktrain.cluster import JOB, Cluster
from ktrain.doctor.rights import RIGHTS, WITH_KUEUE
from ktrain.jobs.workload import Workload, find_workload
from ktrain.names import ANNOTATION_STATE, CliExit
from ktrain.records import read_records
from tests.cluster.jobs import COUNT, Job, admin, ktrain, started, until
from tests.cluster.steer import attempt, attempts, document, events, flags, log, prepare_for_process, state
from tests.kueue import NO_QUOTA, Kueue

pytestmark = pytest.mark.slow
QUEUED = "queued"
IN_QUEUE = "scheduling={queue: gpu}"


@dataclass(frozen=True)
class Place:
    """The worker image, and who lets jobs run here."""

    image: str
    kueue: Kueue


@pytest.fixture(scope="module")
def place(cluster: str) -> Iterator[Place]:
    definitions.install()
    daemons.stop("controller-q")  # of a run that was broken off
    prepare_for_process(QUEUED)
    with Kueue(Cluster.connect(), QUEUED) as kueue:
        yield Place(cluster, kueue)


def workload(job: Job) -> Workload:
    found = find_workload(admin(), QUEUED, document(job)["metadata"]["uid"])
    assert found is not None
    return found


def status(job: Job) -> str:
    return ktrain("status", job.name, "-n", QUEUED).stdout


def test_a_queued_job_stops_by_its_workload_and_goes_on_with_the_next_step(place: Place) -> None:
    job = started("in-line", place.image, IN_QUEUE, "trainer.duration=20ep", namespace=QUEUED)
    suspended = ktrain("suspend", job.name, "-n", QUEUED, "-o", "json")
    assert suspended.returncode == CliExit.OK, suspended.stderr
    step = json.loads(suspended.stdout)["step"]
    assert (job.pods(), job.step(), workload(job).is_active) == ({}, step, False)
    assert status(job).startswith("in-line: suspended: paused by its Workload pytorchjob-in-line-"), status(job)
    refused = ktrain("resume", job.name, "-n", QUEUED, "--nodes", "1")
    assert (refused.returncode, "in Kueue's queue gpu with 2 nodes" in refused.stderr) == (CliExit.SPEC, True)
    place.kueue.has_quota = False
    resumed = ktrain("resume", job.name, "-n", QUEUED)
    assert "waits for admission to queue gpu" in resumed.stderr
    until(
        "it is told", lambda: status(job).startswith(f"in-line: queued: waits for admission to queue gpu: {NO_QUOTA}")
    )
    assert NO_QUOTA in ktrain("list", "-n", QUEUED).stdout
    assert ktrain("resume", job.name, "-n", QUEUED).returncode == CliExit.CONFLICT
    place.kueue.has_quota = True
    until("it trains again", lambda: job.rank0().get("step", 0) > step)
    assert [it["restored_step"] for it in read_records(job.storage()).of("start")] == [0, step]
    job.end()


def test_a_gang_that_does_not_get_whole_leaves_by_its_workload_and_comes_back(place: Place) -> None:
    job = Job("too-big-queued", place.image, file=COUNT, nodes=3, namespace=QUEUED)
    sets = ("resources={cpu: 1200m}", "trainer.batch={global: 48, micro: 16}", IN_QUEUE)
    assert job.submit(*sets).returncode == CliExit.OK
    controller.start("controller-q", *flags(QUEUED), "--start-seconds=3", "--port=8085")
    try:
        until("it leads", lambda: "event=leads " in log("controller-q"))
        until("released", lambda: state(job).release is not None and not workload(job).is_active)
        until("no pods", lambda: not job.pods())
        assert "Insufficient cpu" in events(job)["StartTimeout"]
        end_the_pause(job)
        until("Kueue may admit it", lambda: workload(job).is_active)
        until("its pods are of the next attempt", lambda: set(attempts(job)) == {2})
        assert attempt(job) == 2
        until("told", lambda: {"AttemptRestored", "Resumed"} <= events(job).keys())
    finally:
        daemons.stop("controller-q")
        job.end()
    assert [it for it in changes(job) if "runPolicy" in it.get("spec", {})] == []


def end_the_pause(job: Job) -> None:
    now = state(job)
    assert now.release is not None
    over = replace(now, release=replace(now.release, until=now.release.since))
    admin().patch(JOB, QUEUED, job.name, {"metadata": {"annotations": {ANNOTATION_STATE: over.encode()}}})


def changes(job: Job) -> list[dict[str, Any]]:
    """What the controller has patched of the job itself, as the API server's audit log has it."""
    patches = (it for it in controller.audited() if it["verb"] == "patch")
    mine = {"resource": JOB.plural, "namespace": QUEUED, "name": job.name}
    return [it["requestObject"] for it in patches if mine.items() <= it["objectRef"].items()]


def test_doctor_asks_about_workloads_where_kueue_is(place: Place) -> None:
    number = sum(len(it.verbs) for it in (*RIGHTS, *WITH_KUEUE))
    assert f"{number} verbs that ktrain uses are allowed" in ktrain("doctor", "-n", QUEUED).stdout
