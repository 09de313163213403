"""Jobs on a real cluster: the Shakespeare example end to end, preempted, and failing."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from ktrain.names import CliExit
from ktrain.records import read_records
from tests.cluster.jobs import NAMESPACE, SHORT, Job, digest, ktrain, until

pytestmark = pytest.mark.slow


def test_submit_ends_with_the_bits_of_ktrain_run(cluster: str, undisturbed: Mapping[str, Any]) -> None:
    job = Job("plain", cluster)
    told = job.submit(*SHORT)
    assert told.returncode == CliExit.OK, told.stderr
    followed = ktrain(
        "logs", "plain", "-n", NAMESPACE, "--follow"
    )  # begins before the pods are there, ends with the job
    assert "[rank 0] end step=120" in followed.stdout, followed.stderr
    assert "job plain is in namespace research" in told.stderr
    assert job.wait("Succeeded", "Failed") == "Succeeded", job.logs(0)
    assert digest(job.storage(), job.head()) == undisturbed
    logs = ktrain("logs", "plain", "-n", NAMESPACE).stdout.splitlines()
    assert any(line.startswith("[rank 0] end step=120") for line in logs)
    assert any(line.startswith("[node 1] ") for line in logs)
    one = ktrain("logs", "plain", "-n", NAMESPACE, "--rank", "0", "--tail", "3").stdout.splitlines()
    assert one == [line for line in logs if line.startswith("[rank 0]")][-3:]
    status = ktrain("status", "plain", "-n", NAMESPACE, "-o", "json")
    assert json.loads(status.stdout)["what"] == "succeeded"


def test_deleted_pods_cost_nothing_that_was_saved(cluster: str, undisturbed: Mapping[str, Any]) -> None:
    """Each pod is deleted once while the job trains: it saves at an agreed step, is made again, and goes on there."""
    job = Job("preempted", cluster)
    assert job.submit(*SHORT).returncode == CliExit.OK
    for index in (1, 0):
        before, saved = job.pods, job.step()
        until("a commit", lambda saved=saved: job.step() > saved)  # type: ignore[misc]
        uid = before()[index]["metadata"]["uid"]
        job.delete_pod(index)
        until("another pod", lambda index=index, uid=uid: _is_another(job, index, uid))  # type: ignore[misc]
    assert job.wait("Succeeded", "Failed") == "Succeeded"
    assert digest(job.storage(), job.head()) == undisturbed
    records = read_records(job.storage())
    restored = [record["restored_step"] for record in records.of("start")]
    stopped = [record["step"] for record in records.of("stop")]
    assert restored[0] == 0
    assert len(restored) >= 3
    assert set(stopped) <= set(restored)  # the first step after each agreed stop is the next one


def _is_another(job: Job, index: int, uid: str) -> bool:
    pod = job.pods().get(index)
    return pod is not None and pod["metadata"]["uid"] != uid and pod["status"]["phase"] == "Running"


def test_an_exception_in_user_code_fails_the_job_at_once(cluster: str, tmp_path: Path) -> None:
    assert ktrain("init", str(tmp_path)).returncode == CliExit.OK
    code = tmp_path / "train.py"
    broken = code.read_text(encoding="utf-8").replace("return self.points[index]", "return self.points[index + 1990]")
    code.write_text(broken, encoding="utf-8")
    job = Job("broken", cluster, file=tmp_path / "job.yaml")
    assert job.submit().returncode == CliExit.OK
    assert job.wait("Succeeded", "Failed") == "Failed"
    status = ktrain("status", "broken", "-n", NAMESPACE)
    assert status.returncode == CliExit.JOB_FAILED
    assert "user (exit 70)" in status.stdout
    assert "IndexError" in status.stdout
    assert max(record["epoch"] for record in read_records(job.storage()).of("start")) == 1  # no restart
    _replaced_only_by_what_works(job)


def _replaced_only_by_what_works(job: Job) -> None:
    uid, runs = job.uid(), job.runs()
    again = job.submit()
    assert again.returncode == CliExit.CONFLICT
    assert "has ended in namespace research (Failed); --replace submits it again" in again.stderr
    assert job.submit("storage.secret=no-such", flags=["--replace"]).returncode == CliExit.NOT_FOUND
    looked = job.submit(flags=["--replace", "--fresh", "--dry-run", "server"])
    assert looked.returncode == CliExit.OK, looked.stderr
    assert "nothing was created" in looked.stderr
    assert (job.uid(), job.runs()) == (uid, runs)
    assert job.submit(flags=["--replace", "--fresh"]).returncode == CliExit.OK
    assert job.uid() != uid
    assert len(job.runs()) == len(runs) + 1
    assert ktrain("delete", job.name, "-n", NAMESPACE).returncode == CliExit.OK


@pytest.mark.parametrize(
    ("name", "change", "told"),
    [
        ("big", "resources={cpu: 1000, memory: 1Gi}", "no node takes it: 0/2 nodes are available: 2 Insufficient cpu"),
        ("imageless", "image=ktrain.local/nowhere:1", "its image ktrain.local/nowhere:1 cannot be pulled"),
        ("secretless", "secretEnv={TOKEN: {secret: no-such, key: token}}", 'secret "no-such" not found'),
        ("volumeless", "volumes=[{name: data, mountPath: /data, configMap: no-such}]", 'configmap "no-such" not found'),
    ],
    ids=["unschedulable", "image", "secret", "volume"],
)  # fmt: skip
def test_status_says_why_it_does_not_run(cluster: str, name: str, change: str, told: str) -> None:
    job = Job(name, cluster, nodes=1)
    assert job.submit(*SHORT, change).returncode == CliExit.OK
    until(told, lambda: told in ktrain("status", name, "-n", NAMESPACE).stdout, seconds=60)
    deleted = ktrain("delete", name, "-n", NAMESPACE)
    assert deleted.returncode == CliExit.OK
    assert "its run is kept" in deleted.stderr


def test_what_cannot_be_submitted_leaves_nothing_behind(cluster: str) -> None:
    job = Job("refused", cluster)
    missing = job.submit(*SHORT, "storage.secret=no-such")
    assert missing.returncode == CliExit.NOT_FOUND
    assert "there is no Secret 'no-such' in namespace research" in missing.stderr
    nowhere = job.submit(*SHORT, "storage.url=/runs")
    assert nowhere.returncode == CliExit.SPEC
    assert "a folder that dies with its pod" in nowhere.stderr
    looked = job.submit(*SHORT, flags=["--dry-run", "server"])
    assert looked.returncode == CliExit.OK, looked.stderr
    assert job.runs() == []
    assert job.pods() == {}
    assert "refused" not in ktrain("list", "-n", NAMESPACE).stdout


def test_a_name_that_is_taken_is_told(cluster: str) -> None:
    job = Job("twice", cluster, nodes=1)
    assert job.submit(*SHORT).returncode == CliExit.OK
    again = job.submit(*SHORT)
    assert again.returncode == CliExit.CONFLICT
    assert "job twice is already in namespace research" in again.stderr
    assert ktrain("delete", "twice", "-n", NAMESPACE).returncode == CliExit.OK
