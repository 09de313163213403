"""The packaged chart on a real cluster: its controllers run from the image, without privileges, in every namespace."""

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from hack.chart.helm import helm
from hack.chart.package import package
from hack.cluster import images, prometheus, s3
from hack.cluster.kubectl import apply, get, kubectl
from hack.cluster.layout import S3
from hack.cluster.shell import NeedError
from tests.cluster.jobs import COUNT, NAMESPACE, Job, started, until
from tests.cluster.steer import attempt, attempts, events, reasons, signal_launcher, state, uids

pytestmark = [pytest.mark.slow, pytest.mark.alone]  # they look after the jobs of all namespaces

HOME = "ktrain-release"
CONTROLLER = "deployment/ktrain-controller"
KINDS = (
    "deployments,replicasets,pods,services,configmaps,serviceaccounts,roles,rolebindings,leases,poddisruptionbudgets,"
    "networkpolicies,jobs,clusterroles,clusterrolebindings"
)
OURS = "app.kubernetes.io/instance=ktrain"


@pytest.fixture(scope="module")
def chart(cluster: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """As a release would have it: with the digest of the image that was built."""
    image = images.build("controller")
    name = image.rpartition(":")[0]
    return package(tmp_path_factory.mktemp("dist"), digest=images.digest(image), repository=name)


@pytest.fixture
def settings() -> tuple[str, ...]:
    """What this cluster lacks: a registry."""
    return (
        "--set=image.pullPolicy=IfNotPresent", f"--set=check.storage.url=s3://{s3.BUCKET}/check",
        f"--set=check.storage.endpoint={S3}", f"--set=check.storage.secret={s3.SECRET}",
    )  # fmt: skip


@pytest.fixture
def release(chart: Path, settings: tuple[str, ...]) -> Iterator[Path]:
    """Installed, in a namespace that enforces the restricted profile; and gone afterwards."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": HOME, "labels": labels}})
    s3.secret(HOME)
    told = helm("install", "ktrain", chart, "-n", HOME, *settings, "--wait", "--timeout=120s")
    assert "looks after the jobs of all namespaces" in told
    try:
        yield chart
    finally:
        if "ktrain" in helm("list", "-n", HOME, "-q"):
            helm("uninstall", "ktrain", "-n", HOME, "--wait")


def pods() -> dict[str, str]:
    """Of the controller: names and uids."""
    found = get("-n", HOME, "pods", "-l", "app.kubernetes.io/component=controller")["items"]
    return {it["metadata"]["name"]: it["metadata"]["uid"] for it in found if "deletionTimestamp" not in it["metadata"]}


def failed_once(name: str, image: str) -> Job:
    """A job whose next failure replaces all its pods."""
    job = Job(name, image, file=COUNT, nodes="{min: 1, max: 2}")
    sets = ("trainer.duration=200ep", "trainer.checkpoint.every=10000step", "restart={backoff: {base: 0s}}")
    assert job.submit(*sets).returncode == 0
    until("it trains", lambda: job.rank0().get("step", 0) > 0)
    signal_launcher(job, 1, 9)
    until("it was counted", lambda: len(state(job).incidents) == 1)
    until("it trains again", lambda: len(uids(job)) == 2 and job.told().get("epoch", 0) > 1 and bool(job.rank0()))
    return job


def end(job: Job) -> None:
    kubectl("-n", NAMESPACE, "delete", "pytorchjob", job.name, "--wait=false")


def test_an_upgrade_and_a_rollback_disturb_no_job(release: Path, settings: tuple[str, ...], cluster: str) -> None:
    """Installed by digest, checked by `helm test`; a restart is under way while the controllers are replaced."""
    assert "Succeeded" in helm("test", "ktrain", "-n", HOME, "--timeout=120s")
    job = failed_once("released", cluster)
    before, controllers = uids(job), pods()
    assert len(controllers) == 2
    signal_launcher(job, 1, 9)
    helm("upgrade", "ktrain", release, "-n", HOME, *settings, "--set=controller.workers=2", "--wait", "--timeout=120s")
    until("another attempt", lambda: attempt(job) == 2)
    until("a whole gang of it", lambda: attempts(job) == [2, 2] and bool(job.rank0()))
    assert not before & uids(job)
    assert not controllers.keys() & pods().keys()
    assert list(events(job)) == ["PodFailed"]
    labels = f'namespace="{NAMESPACE}",ktrain_job="{job.name}"'
    until("Prometheus knows", lambda: prometheus.ask(f"max(ktrain_job_attempt{{{labels}}})") == attempt(job))
    running = uids(job)
    helm("rollback", "ktrain", "1", "-n", HOME, "--wait", "--timeout=120s")
    until("it trains", lambda: job.told().get("state") == "running")
    assert uids(job) == running
    assert attempt(job) == 2
    end(job)


def test_a_fleet_that_falls_silent_is_left_alone_and_somebody_is_told(
    release: Path, settings: tuple[str, ...], cluster: str
) -> None:
    """The launchers stand still, as when the network between them and the controller is away: nothing is restarted."""
    args = "--set=controller.extraArgs={--silent-seconds=20,--hang-margin-seconds=5}"
    helm("upgrade", "ktrain", release, "-n", HOME, *settings, args, "--wait", "--timeout=120s")
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
        end(job)


def test_an_uninstall_leaves_nothing_behind(release: Path) -> None:
    assert get(KINDS, "-A", "-l", OURS)["items"]
    kubectl("-n", HOME, "delete", "pod", "-l", "app.kubernetes.io/component=controller", "--wait=false")
    helm("uninstall", "ktrain", "-n", HOME, "--wait")
    until("nothing is left", lambda: not get(KINDS, "-A", "-l", OURS)["items"])
    secrets = [it["metadata"]["name"] for it in get("-n", HOME, "secrets")["items"]]
    assert secrets == [s3.SECRET]
    assert "ktrain-controller" not in kubectl("-n", HOME, "get", "leases,configmaps", "-o", "name")


def test_a_controller_that_may_do_nothing_says_so(release: Path) -> None:
    """Its rights are taken away: `helm test` names what is missing, and what is not."""
    kubectl("delete", "clusterrolebinding", "ktrain-controller-jobs")
    with pytest.raises(NeedError, match="ktrain-check failed"):
        helm("test", "ktrain", "-n", HOME, "--timeout=60s")
    log = kubectl("-n", HOME, "logs", "job/ktrain-check")
    assert re.search(r"^fail pytorchjobs .* cannot list resource", log, re.MULTILINE), log
    assert re.search(r"^ok +storage ", log, re.MULTILINE), log
