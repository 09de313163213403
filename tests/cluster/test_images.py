"""The two images that the Dockerfile makes, and what the tool of the test cluster says on a machine that cannot have one."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from hack.cluster import images
from hack.cluster.images import ROOT, buildah

pytestmark = pytest.mark.slow
MEBIBYTE = 1 << 20


@pytest.fixture(scope="module", params=["worker", "controller"])
def image(request: pytest.FixtureRequest, cluster: str) -> str:
    """Built as the cluster's own worker image is."""
    return cluster if request.param == "worker" else images.build(request.param)


def config(image: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(buildah("inspect", "--type", "image", image))["OCIv1"]
    return found


def python(image: str, code: str) -> str:
    """What a program says in a container of this image, as the image's own user."""
    container = buildah("from", "--pull-never", image).strip()
    try:
        return buildah("run", "--isolation=chroot", container, "--", "python", "-c", code)
    finally:
        buildah("rm", container)


def test_an_image_runs_as_nobody_special_below_an_init(image: str) -> None:
    found = config(image)["config"]
    assert found["User"] == "10001:10001"
    assert found["Entrypoint"] == ["tini", "--"]
    assert python(image, "import os; print(os.getuid(), os.getgid())").split() == ["10001", "10001"]


def test_only_a_small_layer_changes_with_the_code(image: str) -> None:
    """Each COPY of our code is one layer behind that of the packages."""
    steps = [it["created_by"] for it in config(image)["history"] if not it.get("empty_layer")]
    packages = next(index for index, step in enumerate(steps) if "--require-hashes" in step)
    behind = steps[packages + 1 :]
    assert behind
    assert all("ktrain" in step or "/work" in step for step in behind), behind
    code = "import pathlib; print(sum(it.stat().st_size for it in pathlib.Path('/opt/ktrain-code').rglob('*') if it.is_file()))"
    assert int(python(image, code)) < 4 * MEBIBYTE


def test_the_controllers_image_has_no_torch(cluster: str) -> None:
    code = "import importlib.util as it; print([name for name in ('ktrain', 'torch', 'numpy', 'boto3') if it.find_spec(name)])"
    assert python(images.build("controller"), code).strip() == "['ktrain', 'boto3']"
    assert python(cluster, code).strip() == "['ktrain', 'torch', 'numpy', 'boto3']"


def hack(*words: str, **environment: str) -> tuple[int, str]:
    done = subprocess.run(
        words, cwd=ROOT, capture_output=True, text=True, check=False, env={**os.environ, **environment}
    )
    return done.returncode, done.stderr.splitlines()[-1]


def test_what_a_machine_lacks_for_a_cluster_is_one_sentence(tmp_path: Path) -> None:
    status = (sys.executable, "-m", "hack.cluster", "status")
    assert hack("unshare", "--user", *status) == (
        1, "cluster: the cluster needs root, for network namespaces and mounts; run it with sudo, or in a virtual machine",
    )  # fmt: skip
    builds = (sys.executable, "-m", "hack.cluster", "images")
    assert hack(*builds, PATH="/nowhere", KTRAIN_CLUSTER_CACHE=str(tmp_path)) == (
        1, "cluster: Go is not installed; the cluster is built from source: install Go 1.26 or newer",
    )  # fmt: skip
