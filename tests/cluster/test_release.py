"""The packaged chart on a real cluster: its controllers run from the image, without privileges, in every namespace."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.chart.helm import helm
from hack.cluster import earlier, prometheus, s3
from hack.cluster.kubectl import get, kubectl
from hack.cluster.shell import NeedError
from tests.cluster import release
from tests.cluster.jobs import COUNT, NAMESPACE, Job, started, until
from tests.cluster.release import HOME
from tests.cluster.steer import attempt, attempts, events, reasons, signal_launcher, state, uids

pytestmark = [pytest.mark.slow, pytest.mark.alone]  # they look after the jobs of all namespaces

KINDS = (
    "deployments,replicasets,pods,services,configmaps,serviceaccounts,roles,rolebindings,leases,poddisruptionbudgets,"
    "networkpolicies,jobs,clusterroles,clusterrolebindings"
)
OURS = "app.kubernetes.io/instance=ktrain"


@pytest.fixture
def installed(packaged: Path) -> Iterator[str]:
    """Today's; gives what helm has said."""
    with release.installed(packaged) as told:
        yield told


@pytest.fixture
def earlier_one(cluster: str, tmp_path: Path) -> Iterator[Path]:
    """An earlier commit's, installed."""
    if not earlier.is_known():
        pytest.skip("git does not know the commit that the upgrade begins from")
    chart = release.before(tmp_path)
    with release.installed(chart):
        yield chart


def failed_once(name: str, image: str) -> Job:
    """A job whose next failure replaces all its pods."""
    job = Job(name, image, file=COUNT)
    sets = ("trainer.duration=200ep", "trainer.checkpoint.every=10000step", "restart={backoff: {base: 0s}}")
    assert job.submit(*sets).returncode == 0
    until("it trains", lambda: job.rank0().get("step", 0) > 0)
    signal_launcher(job, 1, 9)
    until("it was counted", lambda: len(state(job).incidents) == 1)
    until("it trains again", lambda: len(uids(job)) == 2 and job.told().get("epoch", 0) > 1 and bool(job.rank0()))
    return job


def test_an_upgrade_and_a_rollback_disturb_no_job(earlier_one: Path, packaged: Path, cluster: str) -> None:
    """From the chart and the image of an earlier commit; a restart is under way while the controllers are replaced."""
    job = failed_once("released", cluster)
    before, controllers = uids(job), release.pods()
    assert len(controllers) == 2
    signal_launcher(job, 1, 9)
    release.upgrade(packaged)
    until("another attempt", lambda: attempt(job) == 2)
    until("a whole gang of it", lambda: attempts(job) == [2, 2] and bool(job.rank0()))
    assert not before & uids(job)
    assert not controllers.keys() & release.pods().keys()
    assert list(events(job)) == ["PodFailed"]
    labels = f'namespace="{NAMESPACE}",ktrain_job="{job.name}"'
    until("Prometheus knows", lambda: prometheus.ask(f"max(ktrain_job_attempt{{{labels}}})") == attempt(job))
    running = uids(job)
    helm("rollback", "ktrain", "1", "-n", HOME, "--wait", "--timeout=120s")
    release.upgrade(packaged)
    until("it trains", lambda: job.told().get("state") == "running")
    assert uids(job) == running
    assert attempt(job) == 2
    job.end()


def test_an_earlier_controller_goes_on_with_what_a_later_one_has_written(
    earlier_one: Path, packaged: Path, cluster: str
) -> None:
    release.upgrade(packaged)
    job = failed_once("rolled-back", cluster)
    before = uids(job)
    helm("rollback", "ktrain", "1", "-n", HOME, "--wait", "--timeout=120s")
    signal_launcher(job, 1, 9)
    until("another attempt", lambda: attempt(job) == 2)
    until("a whole gang of it", lambda: attempts(job) == [2, 2] and bool(job.rank0()))
    assert not before & uids(job)
    assert [it.is_charged for it in state(job).incidents] == [True, True]
    job.end()


def test_what_is_installed_says_what_comes_next_and_finds_nothing_wrong(installed: str) -> None:
    assert "looks after the jobs of all namespaces" in installed
    assert "Succeeded" in helm("test", "ktrain", "-n", HOME, "--timeout=120s")


def test_a_fleet_that_falls_silent_is_left_alone_and_somebody_is_told(
    installed: str, packaged: Path, cluster: str
) -> None:
    """The launchers stand still, as when the network between them and the controller is away: nothing is restarted."""
    release.upgrade(packaged, "--set=controller.extraArgs={--silent-seconds=20,--hang-margin-seconds=5}")
    jobs = [started(f"silent-{number}", cluster, "trainer.duration=200ep") for number in range(2)]
    before = [uids(job) for job in jobs]
    until("Prometheus knows them", lambda: prometheus.ask("sum(ktrain_job:running:max)") >= len(jobs))
    for job in jobs:
        signal_launcher(job, 0, signal.SIGSTOP)
    until("an alert", lambda: prometheus.ask('ALERTS{alertname="KtrainFleetSilent",seen_by="controller"}') == 1)
    assert [uids(job) for job in jobs] == before
    for job in jobs:
        signal_launcher(job, 0, signal.SIGCONT)
    until("all is well", lambda: prometheus.ask('ALERTS{alertname="KtrainFleetSilent"}') < 0)
    assert [uids(job) for job in jobs] == before
    assert [reasons(job) for job in jobs] == [[], []]
    for job in jobs:
        job.end()


def test_an_uninstall_leaves_nothing_behind(installed: str) -> None:
    assert get(KINDS, "-A", "-l", OURS)["items"]
    kubectl("-n", HOME, "delete", "pod", "-l", "app.kubernetes.io/component=controller", "--wait=false")
    helm("uninstall", "ktrain", "-n", HOME, "--wait")
    until("nothing is left", lambda: not get(KINDS, "-A", "-l", OURS)["items"])
    secrets = [it["metadata"]["name"] for it in get("-n", HOME, "secrets")["items"]]
    assert secrets == [s3.SECRET]
    assert "ktrain-controller" not in kubectl("-n", HOME, "get", "leases,configmaps", "-o", "name")


def test_a_controller_that_may_do_nothing_says_so(installed: str) -> None:
    """Its rights are taken away: `helm test` names what is missing, and what is not."""
    kubectl("delete", "clusterrolebinding", "ktrain-controller-jobs")
    with pytest.raises(NeedError, match="ktrain-check failed"):
        helm("test", "ktrain", "-n", HOME, "--timeout=60s")
    log = kubectl("-n", HOME, "logs", "job/ktrain-check")
    assert re.search(r"^fail pytorchjobs .* cannot list resource", log, re.MULTILINE), log
    assert re.search(r"^ok +storage ", log, re.MULTILINE), log
