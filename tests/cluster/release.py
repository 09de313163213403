"""The packaged chart, installed: its controllers run from the image, without privileges."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hack.chart.helm import CHART, helm
from hack.chart.package import package
from hack.cluster import controller, earlier, images, s3
from hack.cluster.kubectl import apply, get
from hack.cluster.layout import S3

HOME = controller.RELEASE
# What this cluster lacks: a registry.
SETTINGS = (
    "--set=image.pullPolicy=IfNotPresent", f"--set=check.storage.url=s3://{s3.BUCKET}/check",
    f"--set=check.storage.endpoint={S3}", f"--set=check.storage.secret={s3.SECRET}",
)  # fmt: skip


def today(folder: Path) -> Path:
    """As a release would have it: with the digest of the image that was built."""
    return _packaged(folder, images.build("controller"), CHART)


def before(folder: Path) -> Path:
    """The same of an earlier commit."""
    with earlier.source() as files:
        return _packaged(folder, earlier.image(files), earlier.chart(files))


def _packaged(folder: Path, image: str, chart: Path) -> Path:
    return package(folder, digest=images.digest(image), repository=image.rpartition(":")[0], chart=chart)


@contextmanager
def installed(chart: Path, *settings: str, namespace: str = HOME) -> Iterator[str]:
    """In a namespace that enforces the restricted profile; gone afterwards. Gives what helm has said."""
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace, "labels": labels}})
    s3.secret(namespace)
    if is_installed(namespace):  # by a run that was broken off
        helm("uninstall", "ktrain", "-n", namespace, "--wait")
    told = helm("install", "ktrain", chart, "-n", namespace, *SETTINGS, *settings, "--wait", "--timeout=120s")
    try:
        yield told
    finally:
        if is_installed(namespace):
            helm("uninstall", "ktrain", "-n", namespace, "--wait")


def is_installed(namespace: str = HOME) -> bool:
    """Whether there is a release, in whatever state."""
    return "ktrain" in helm("list", "-n", namespace, "-a", "-q").split()


def upgrade(chart: Path, *settings: str) -> None:
    """Returns when its controllers are ready."""
    helm("upgrade", "ktrain", chart, "-n", HOME, *SETTINGS, *settings, "--wait", "--timeout=120s")


def pods() -> dict[str, str]:
    """Of the controller: names and uids."""
    found = get("-n", HOME, "pods", "-l", "app.kubernetes.io/component=controller")["items"]
    return {it["metadata"]["name"]: it["metadata"]["uid"] for it in found if "deletionTimestamp" not in it["metadata"]}
