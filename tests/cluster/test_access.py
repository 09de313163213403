"""What somebody finds who may not do everything, or whose namespace is full."""

import json
from pathlib import Path

import pytest

from hack.cluster import s3
from hack.cluster.kubectl import apply, get, kubectl
from hack.cluster.layout import ADMIN
from ktrain.cluster import Cluster
from ktrain.errors import MissingError
from ktrain.names import CliExit
from tests.cli.test_no_cluster import NO_SUCH_KIND
from tests.cluster.jobs import NAMESPACE, SHORT, Job, ktrain, until

pytestmark = pytest.mark.slow
SMALL = "small-quota"


@pytest.fixture
def onlooker(cluster: str, tmp_path: Path) -> Path:
    """The kubeconfig of a user who may look at jobs and pods, and at nothing else."""
    rules = [
        {"apiGroups": ["kubeflow.org"], "resources": ["pytorchjobs"], "verbs": ["get", "list"]},
        {"apiGroups": [""], "resources": ["pods"], "verbs": ["get", "list"]},
    ]
    role = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "onlooker"}
    subject = {"kind": "ServiceAccount", "name": "onlooker", "namespace": NAMESPACE}
    meta = {"name": "onlooker", "namespace": NAMESPACE}
    apply(
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": meta, "rules": rules},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": meta, "roleRef": role, "subjects": [subject]},
    )  # fmt: skip
    token = kubectl("-n", NAMESPACE, "create", "token", "onlooker").strip()
    config = json.loads(kubectl("config", "view", "--raw", "-o", "json"))
    config["users"] = [{"name": config["users"][0]["name"], "user": {"token": token}}]
    path = tmp_path / "kubeconfig"
    path.write_text(json.dumps(config))
    return path


def test_whoever_may_only_look_is_told_which_verb_is_missing(
    cluster: str, onlooker: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = Job("watched", cluster)
    assert job.submit(*SHORT, "trainer.duration=3000step").returncode == CliExit.OK
    until("a step", lambda: int(job.rank0().get("step", 0)) > 0)
    monkeypatch.setenv("KUBECONFIG", str(onlooker))
    status = ktrain("status", job.name, "-n", NAMESPACE)
    assert status.returncode == CliExit.OK
    assert "2 of 2 pods" in status.stdout
    for resource in ("events", "nodes", "pods/proxy"):
        assert f'resource "{resource}"' in status.stderr
    for command, verb, resource in (
        ("suspend", "patch", "pods"),
        ("stacks", "patch", "pods"),
        ("delete", "delete", "pytorchjobs"),
        ("logs", "get", "pods/log"),
    ):
        refused = ktrain(command, job.name, "-n", NAMESPACE)
        assert (refused.returncode, "Traceback" in refused.stderr) == (CliExit.AUTH, False), refused.stderr
        assert f'cannot {verb} resource "{resource}"' in refused.stderr
    other = Job("other", cluster)
    refused = other.submit(*SHORT)
    assert refused.returncode == CliExit.AUTH
    doctor = ktrain("doctor", "-n", NAMESPACE)
    assert doctor.returncode == CliExit.FAILED
    assert "✗ rights        you may not get, create, patch, delete configmaps" in doctor.stdout
    assert "! rights        you may not get pods/proxy" in doctor.stdout
    monkeypatch.setenv("KUBECONFIG", str(ADMIN))
    assert [
        it["metadata"]["name"]
        for it in get("-n", NAMESPACE, "pytorchjobs")["items"]
        if it["metadata"]["name"] == "other"
    ] == []
    assert ktrain("delete", job.name, "-n", NAMESPACE).returncode == CliExit.OK


def test_a_kind_that_is_not_there_is_answered_as_our_fake_does(cluster: str) -> None:
    with pytest.raises(MissingError, match=NO_SUCH_KIND.decode().strip()):
        Cluster.connect().raw("/apis/kubeflow.org/v9/namespaces/default/pytorchjobs")


def test_a_quota_is_named_as_the_reason(cluster: str) -> None:
    apply(
        {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SMALL}},
        {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": {"name": "two", "namespace": SMALL}, "spec": {"hard": {"pods": "1"}}},
    )  # fmt: skip
    s3.secret(SMALL)
    job = Job("too-many", cluster)
    sets = [word for it in job.settings(*SHORT) for word in ("--set", it)]
    submitted = ktrain("submit", str(job.file), "-n", SMALL, *sets)
    assert submitted.returncode == CliExit.OK, submitted.stderr
    told = "pods are refused: Error creating: pods"
    until(told, lambda: told in ktrain("status", job.name, "-n", SMALL).stdout, seconds=60)
    assert "exceeded quota: two" in ktrain("status", job.name, "-n", SMALL).stdout
    kubectl("delete", "namespace", SMALL, "--wait=false")
