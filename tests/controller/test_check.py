"""What `helm test` is told: rights, the leader, and storage."""

import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tests.controller.fake_api import FakeApi


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi() as api:
        now = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        spec = {"holderIdentity": "first", "renewTime": now}
        api.put("leases", {"metadata": {"namespace": "default", "name": "ktrain-controller"}, "spec": spec})
        yield api


def check(api: FakeApi, folder: Path, *flags: str) -> tuple[int, str]:
    (folder / "kubeconfig").write_text(api.kubeconfig)
    done = subprocess.run(
        [sys.executable, "-m", "ktrain_controller.check", *flags],
        env={**os.environ, "KUBECONFIG": str(folder / "kubeconfig")}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.stderr == ""
    return done.returncode, done.stdout


def test_a_cluster_and_a_storage_that_answer_are_well(api: FakeApi, tmp_path: Path) -> None:
    code, told = check(api, tmp_path, f"--storage=file://{tmp_path}/runs")
    assert code == 0, told
    assert [line.split()[:2] for line in told.splitlines()] == [
        ["ok", name] for name in ("pytorchjobs", "pods", "nodes", "workloads", "lease", "storage")
    ]


def test_what_may_not_be_listed_is_named(api: FakeApi, tmp_path: Path) -> None:
    api.faults.forbidden.add(("GET", "pods"))
    code, told = check(api, tmp_path)
    assert (code, told.splitlines()[1].split()[:2]) == (1, ["fail", "pods"])


def test_a_controller_of_one_namespace_needs_no_nodes(api: FakeApi, tmp_path: Path) -> None:
    api.faults.forbidden.add(("GET", "nodes"))
    assert check(api, tmp_path, "--namespace=research")[0] == 0


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"holderIdentity": ""}, "nobody leads"),
        ({"holderIdentity": "first", "renewTime": "2020-01-01T00:00:00.000000Z"}, "first leads, and said so"),
    ],
    ids=["nobody", "somebody who is gone"],
)
def test_a_lead_that_nobody_has_is_told(api: FakeApi, tmp_path: Path, spec: dict[str, str], told: str) -> None:
    api.put("leases", {"metadata": {"namespace": "default", "name": "ktrain-controller"}, "spec": spec})
    code, line = check(api, tmp_path)
    assert code == 1
    assert f"fail lease        {told}" in line


def test_a_storage_that_cannot_be_written_is_told(api: FakeApi, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    code, told = check(api, tmp_path, f"--storage=file://{tmp_path}/file")
    assert code == 1
    assert "fail storage" in told
    assert "cannot delete" not in told
