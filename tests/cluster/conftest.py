"""One real cluster for all tests of this folder; the test process itself moves into its network."""

import fcntl
import json
import os
import platform
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
import pytest

from hack.cluster import cluster as testbed
from hack.cluster import images, network, s3
from hack.cluster.kubectl import apply, kubectl
from hack.cluster.layout import ADMIN, S3
from ktrain.history import current_run, read_head
from ktrain.names import CliExit
from ktrain.storage import open_storage, scoped
from tests.cluster import release
from tests.cluster.jobs import EXAMPLE, NAMESPACE, SHORT, digest, ktrain


def _missing() -> str:
    if platform.system() != "Linux" or os.geteuid() != 0:
        return "the test cluster needs Linux and root"
    needed = ("go", "buildah", "debootstrap", "runc", "prometheus", "nft")
    absent = [it for it in needed if shutil.which(it) is None]
    return f"the test cluster needs {', '.join(absent)}; `make cluster-setup` installs them" if absent else ""


@pytest.fixture(scope="session")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that all test processes of this run have in common."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@contextmanager
def _alone(shared: Path) -> Iterator[Path]:
    """One test process at a time; gives the file that counts who uses the cluster."""
    with (shared / "cluster.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield shared / "cluster.users"


@pytest.fixture(scope="session")
def cluster(shared: Path) -> Iterator[str]:
    """Up, with a bucket and a namespace that enforces Pod Security "restricted"; returns the worker image."""
    if reason := _missing():
        pytest.skip(reason)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("KUBECONFIG", str(ADMIN))
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "HTTPS_PROXY", "HTTP_PROXY"):
            environment.delenv(name, raising=False)
        with _alone(shared) as users:
            testbed.up(2)
            network.enter()
            if _count(users, +1) == 1:
                _prepare()
            image = images.build("worker")
        yield image
    with _alone(shared) as users:
        if _count(users, -1) == 0 and not os.environ.get("KTRAIN_KEEP_CLUSTER"):
            testbed.down()
            assert testbed.left() == []


def _count(users: Path, change: int) -> int:
    number = int(users.read_text() if users.exists() else "0") + change
    users.write_text(str(number))
    return number


def _prepare() -> None:
    client = boto3.client(
        "s3", endpoint_url=S3, region_name="us-east-1", aws_access_key_id=s3.KEYS["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=s3.KEYS["AWS_SECRET_ACCESS_KEY"],
    )  # fmt: skip
    if s3.BUCKET not in [it["Name"] for it in client.list_buckets()["Buckets"]]:
        client.create_bucket(Bucket=s3.BUCKET)
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": NAMESPACE, "labels": labels}})
    s3.secret(NAMESPACE)
    kubectl("-n", NAMESPACE, "delete", "pytorchjobs", "--all", "--wait")
    with s3.keys_in_environment():  # runs of before would be resumed, or are done
        open_storage(f"s3://{s3.BUCKET}/runs", endpoint=S3).delete_folder(NAMESPACE)


@pytest.fixture(scope="session")
def packaged(cluster: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The chart as a file, which names the controller's image by its digest."""
    return release.today(tmp_path_factory.mktemp("dist"))


@pytest.fixture(scope="session")
def undisturbed(cluster: str, shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """What `ktrain run` of the same file makes of it, with as many ranks; trained once for all."""
    kept = shared / "undisturbed.json"
    with _alone(shared):
        if not kept.exists():
            kept.write_text(json.dumps(_train(tmp_path_factory.mktemp("runs"))))
    found: Mapping[str, Any] = json.loads(kept.read_text())
    return found


def _train(folder: Path) -> Mapping[str, Any]:
    sets = [word for it in (*SHORT, f"storage.url={folder}") for word in ("--set", it)]
    done = ktrain("run", str(EXAMPLE), "--nodes", "2", "--procs", "1", *sets)
    assert done.returncode == CliExit.OK, done.stderr
    job = scoped(open_storage(str(folder)), "default/shakespeare")
    run = scoped(job, current_run(job) or "")
    return digest(run, read_head(run))
