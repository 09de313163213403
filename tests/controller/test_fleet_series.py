"""The controller's series of jobs: true at the moment of a scrape, well-formed, from the leader only."""

import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ktrain_controller import fleet_series, reference, series
from ktrain_controller.metrics import Metrics
from ktrain_controller.model import Job, Pod
from ktrain_controller.sample import Sample
from ktrain_controller.state import Release, State
from ktrain_controller.store import Store
from tests.controller.operator import Ledger, Operator, Replica, until
from tests.controller.seen import NOW, job, pod
from tests.promtool import promtool

HELD = Sample(NOW, None, "no answer")
PAUSED = State(release=Release(NOW + 60, "StartTimeout", since=NOW - 30)).encode()


def no_sample(_key: str) -> Sample | None:
    return None


def scraped(
    *jobs: Job, pods: tuple[Pod, ...] = (pod(0), pod(1)), sample: Callable[[str], Sample | None] = no_sample
) -> dict[tuple[str, str], float]:
    """Values by name and state."""
    store: Store[Job] = Store()
    store.replace(jobs)
    of: Store[Pod] = Store(lambda it: it.owner)
    of.replace(pods)
    text = fleet_series.render(store, of, sample).decode()
    samples = (it for family in text_string_to_metric_families(text) for it in family.samples)
    return {(it.name, it.labels.get("state", "")): it.value for it in samples}


def test_a_running_job_says_what_it_holds() -> None:
    found = scraped(job(replicas=2, gpus=8, attempt=3, since=NOW - 70))
    assert found == {
        ("ktrain_job_state", "running"): 1,
        ("ktrain_job_state_since_timestamp_seconds", ""): NOW - 70,
        ("ktrain_job_waiting", ""): 0,
        ("ktrain_job_attempt", ""): 3,
        ("ktrain_job_nodes", ""): 2,
        ("ktrain_job_gpus", ""): 16,
    }


@pytest.mark.parametrize(
    ("made", "state", "is_waiting"),
    [
        (job(phase="Created"), "created", 1),
        (job(phase="Restarting"), "restarting", 1),
        (job(phase="Suspended", is_suspended=True), "suspended", 0),
        (job(phase="Running", is_suspended=True), "suspended", 0),
        (job(phase="Suspended", is_suspended=True, queue="gpus"), "queued", 1),
        (job(phase="Suspended", is_suspended=True, state=PAUSED), "paused", 1),
        (job(phase="Suspended", is_suspended=True, state="{garbled"), "suspended", 0),
    ],
    ids=["created", "restarting", "suspended", "being-suspended", "queued", "paused", "garbled"],
)
def test_the_state_is_one_word(made: Job, state: str, is_waiting: int) -> None:
    found = scraped(made)
    assert [key[1] for key in found if key[0] == "ktrain_job_state"] == [state]
    assert found["ktrain_job_waiting", ""] == is_waiting
    assert state in series.STATES


def test_a_job_that_runs_without_one_of_its_pods_waits_for_it() -> None:
    assert scraped(job(), pods=(pod(0), pod(1, phase="Pending")))["ktrain_job_waiting", ""] == 1


def test_a_pause_is_as_old_as_it_is() -> None:
    found = scraped(job(phase="Suspended", is_suspended=True, state=PAUSED, since=NOW - 5))
    assert found["ktrain_job_state_since_timestamp_seconds", ""] == NOW - 30


def test_of_a_job_that_has_ended_only_the_state_is_left() -> None:
    assert scraped(job(phase="Failed", since=NOW - 9), sample=lambda _key: HELD) == {
        ("ktrain_job_state", "failed"): 1,
        ("ktrain_job_state_since_timestamp_seconds", ""): NOW - 9,
    }


def test_the_attempt_never_goes_back_when_kueue_puts_an_old_one() -> None:
    assert scraped(job(attempt=2, newest_attempt=5))["ktrain_job_attempt", ""] == 5


@pytest.mark.parametrize(("sample", "held"), [(HELD, 1), (Sample(NOW, 2.0), 0)], ids=["no number", "a number"])
def test_whether_scaling_is_frozen_is_told_of_jobs_that_scale(sample: Sample, held: int) -> None:
    assert scraped(job(), sample=lambda _key: sample)["ktrain_job_autoscale_held", ""] == held
    assert ("ktrain_job_autoscale_held", "") not in scraped(job())


def test_every_row_of_the_reference_is_one_of_the_registry() -> None:
    """Asked ones are registered by the controller, under rows of the same table."""
    counted = {it.name for it in Metrics().registry.collect()}
    assert {it.name.removesuffix("_total") for it in series.OWN} >= counted
    assert {it.kind for it in series.OF_JOBS} == {"gauge"}


def test_the_published_table_is_the_codes() -> None:
    page = Path(__file__).parents[2] / "docs" / "controller-metrics.md"
    assert page.read_text(encoding="utf-8") == reference.render(), "run: make schema"


@pytest.fixture
def api() -> Iterator[Ledger]:
    with Ledger() as api, Operator(api) as operator:
        operator.add_nodes("node-0", "node-1")
        operator.submit("demo", resources={"nvidia.com/gpu": "4"})
        yield api


def page(replica: Replica) -> str:
    with urllib.request.urlopen(f"http://127.0.0.1:{replica.port}/metrics", timeout=5) as answer:
        text: str = answer.read().decode()
    return text


def test_only_the_leader_tells_of_jobs_and_promtool_likes_how(api: Ledger, tmp_path: Path) -> None:
    api.give_lease("first")
    with Replica(api, tmp_path, "first") as first, Replica(api, tmp_path, "second") as second:
        until("one leads", lambda: first.leads and second.is_synced)
        until("the job runs", lambda: 'state="running"' in page(first))
        leader, other = page(first), page(second)
    assert 'ktrain_job_gpus{namespace="research",ktrain_job="demo"} 8' in leader
    assert "ktrain_job_" not in other
    names = {it.name for it in text_string_to_metric_families(leader)}
    assert names >= {it.name.removesuffix("_total") for it in (*series.OWN, *series.OF_JOBS)} - {series.JOB_HELD.name}
    assert promtool("check", "metrics", stdin=leader) == ""
