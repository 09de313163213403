"""Jobs on a real cluster that are asked, paused, resized and ended by the command line."""

import json
import time
from collections.abc import Mapping
from typing import Any

import pytest

from hack.cluster import prometheus
from hack.cluster.kubectl import get
from ktrain.cluster import Cluster
from ktrain.jobs.ask import ask
from ktrain.jobs.find import find_job, find_pods
from ktrain.names import CliExit
from ktrain.records import read_records
from ktrain.request import Ask
from tests.cluster.jobs import ELASTIC, NAMESPACE, SHORT, Job, counting, digest, ktrain, until, visits

pytestmark = pytest.mark.slow
ANSWERED_SECONDS = 4.0
"""2 s of the promise, a step of the job, and a loaded machine."""

TRIES = 3  # other tests may take the machine for a moment


def test_requests_are_answered_at_once_and_training_goes_on(cluster: str) -> None:
    job = counting("asked", cluster, "trainer.checkpoint.every=1000step", "trainer.duration=1000step")
    there = Cluster.connect()
    pods, found = find_pods(there, NAMESPACE, job.name), find_job(there, NAMESPACE, job.name)
    for what in (Ask.CHECKPOINT, Ask.STACKS):
        seconds = []
        for _ in range(TRIES):
            begun = time.monotonic()
            answers = ask(there, found, pods if what is Ask.STACKS else pods[1:], what, timeout=60)
            seconds.append(time.monotonic() - begun)
            assert all(answer.ok for answer in answers), answers
        print(what, seconds)
        assert min(seconds) < ANSWERED_SECONDS
    saved = ktrain("checkpoints", "now", job.name, "-n", NAMESPACE, "-o", "json")
    assert json.loads(saved.stdout)["step"] == job.step() > 0, saved.stderr
    stacks = ktrain("stacks", job.name, "-n", NAMESPACE)
    assert "--- rank 0" in stacks.stdout
    assert "--- rank 1" in stacks.stdout
    assert all("ktrain_trainer/loop.py" in part for part in stacks.stdout.split("--- rank ")[1:])
    profiled = ktrain("profile", job.name, "-n", NAMESPACE, "--rank", "1", "-o", "json")
    assert profiled.returncode == CliExit.OK, profiled.stderr
    kept = {it.key.rpartition("/")[2] for it in job.storage().list("profiles/")}
    assert kept == {"rank-00001.txt", "rank-00001.trace.json.gz"}
    assert ktrain("profile", job.name, "-n", NAMESPACE, "--rank", "2").returncode == CliExit.SPEC
    # Prometheus scrapes the pods by the name of their port.
    until("a sample", lambda: prometheus.ask(f'ktrain_step{{pod="{job.name}-worker-0"}}') > 0)
    assert prometheus.ask(f'sum(ktrain_rank_up{{pod=~"{job.name}-.*"}})') == 2
    top = ktrain("top", "-n", NAMESPACE)
    assert any(line.split()[1:4] == ["asked", "training", "2/2"] for line in top.stdout.splitlines()), top.stdout
    events = ktrain("events", job.name, "-n", NAMESPACE)
    assert "Pod/asked-worker-1" in events.stdout
    assert len(read_records(job.storage()).of("start")) == 1  # nothing of this has stopped a rank
    cancelled = ktrain("cancel", job.name, "-n", NAMESPACE)
    assert cancelled.returncode == CliExit.OK, cancelled.stderr
    assert f"cancelled at step {job.step()}" in cancelled.stderr
    until("no pods", lambda: not any(it["status"]["phase"] == "Running" for it in job.pods().values()))
    status = ktrain("status", job.name, "-n", NAMESPACE)
    assert status.stdout.startswith(f"asked: cancelled: cancelled by `ktrain cancel` at step {job.step()}")
    assert ktrain("cancel", job.name, "-n", NAMESPACE).returncode == CliExit.CONFLICT


def test_a_suspended_job_goes_on_with_the_next_step(cluster: str, undisturbed: Mapping[str, Any]) -> None:
    job = Job("paused", cluster)
    assert job.submit(*SHORT).returncode == CliExit.OK
    until("a step", lambda: int(job.rank0().get("step", 0)) > 35)
    suspended = ktrain("suspend", job.name, "-n", NAMESPACE)
    assert suspended.returncode == CliExit.OK, suspended.stderr
    assert job.pods() == {}
    step = job.step()
    assert f"job paused is suspended at step {step}" in suspended.stderr
    status = ktrain("status", job.name, "-n", NAMESPACE)
    assert status.stdout.startswith("paused: suspended")
    assert f"saved at step {step}: s3://" in status.stdout
    assert "suspended already" in ktrain("suspend", job.name, "-n", NAMESPACE).stderr
    refused = ktrain("resume", job.name, "-n", NAMESPACE, "--nodes", "1")
    assert (refused.returncode, "spec.nodes of this job allows 2 to 2" in refused.stderr) == (CliExit.SPEC, True)
    assert ktrain("resume", job.name, "-n", NAMESPACE).returncode == CliExit.OK
    assert job.wait("Succeeded", "Failed") == "Succeeded"
    assert digest(job.storage(), job.head()) == undisturbed
    assert [record["restored_step"] for record in read_records(job.storage()).of("start")] == [0, step]


def test_an_elastic_job_goes_on_with_fewer_nodes_and_sees_each_sample_once(cluster: str) -> None:
    job = counting("resized", cluster, ELASTIC, "trainer.duration=1ep")
    suspended = ktrain("suspend", job.name, "-n", NAMESPACE, "-o", "json")
    step = json.loads(suspended.stdout)["step"]
    assert 0 < step < 128
    resumed = ktrain("resume", job.name, "-n", NAMESPACE, "--nodes", "1")
    assert resumed.returncode == CliExit.OK, resumed.stderr
    assert job.wait("Succeeded", "Failed") == "Succeeded"
    starts = read_records(job.storage()).of("start")
    assert [(it["world_size"], it["restored_step"]) for it in starts] == [(2, 0), (1, step)]
    assert get("-n", NAMESPACE, "pytorchjob", job.name)["spec"]["pytorchReplicaSpecs"]["Worker"]["replicas"] == 1
    assert visits(job.storage()) == {1.0}


def test_an_elastic_job_is_scaled_and_loses_a_pod_while_it_trains(cluster: str) -> None:
    """2 → 1 → 2 nodes by `ktrain scale`, then a pod is killed: no step is lost by the first two, each sample is seen once."""
    job = counting("elastic", cluster, ELASTIC, "trainer.duration=4ep", "trainer.checkpoint.every=1000step")

    def size() -> int:
        told = job.told()
        return int(told["world_size"]) if told.get("state") == "running" and job.rank0().get("step") else 0

    def scaled(nodes: int) -> None:
        told = ktrain("scale", job.name, "-n", NAMESPACE, "--nodes", str(nodes))
        assert told.returncode == CliExit.OK, told.stderr
        until(f"it steps on {nodes}", lambda: size() == nodes)

    first = job.pods()[0]["metadata"]["uid"]
    scaled(1)
    assert list(job.pods()) == [0]
    scaled(2)
    job.delete_pod(1, at_once=True)
    begun = time.monotonic()
    until("it steps on one", lambda: size() == 1)
    print(f"one pod killed: first step on the other {time.monotonic() - begun:.1f} s later")
    until("it steps on two", lambda: size() == 2)
    assert job.wait("Succeeded", "Failed") == "Succeeded"
    assert job.pods()[0]["metadata"]["uid"] == first
    starts = read_records(job.storage()).of("start")
    assert [it["world_size"] for it in starts] == [2, 1, 2, 1, 2]
    commits = [it["step"] for it in read_records(job.storage()).of("checkpoint")]
    assert all(it["restored_step"] in commits for it in starts[1:])
    assert visits(job.storage()) == {4.0}
    refused = ktrain("scale", job.name, "-n", NAMESPACE, "--nodes", "2")
    assert (refused.returncode, "has ended (Succeeded)" in refused.stderr) == (CliExit.CONFLICT, True)


def test_diff_says_what_a_change_takes(cluster: str) -> None:
    job = Job("compared", cluster, nodes=1)
    assert job.submit(*SHORT, "resources={cpu: 1000, memory: 1Gi}").returncode == CliExit.OK

    def diff(*sets: str) -> tuple[int, str]:
        done = job.diff(*SHORT, "resources={cpu: 1000, memory: 1Gi}", *sets)
        return done.returncode, done.stdout

    assert diff() == (0, "")
    assert diff("ttl=1d") == (1, "spec.ttl: 7d → 1d  (in place)\n")
    done = job.submit(*SHORT, "resources={cpu: 1000, memory: 1Gi}", "ttl=1d")
    assert (done.returncode, done.stdout) == (CliExit.OK, "spec.ttl: 7d → 1d  (in place)\n")
    assert diff("ttl=1d") == (0, "")
    assert diff()[1] == "spec.ttl: 1d → 7d  (in place)\n"
    assert job.submit(*SHORT, "resources={cpu: 1000, memory: 1Gi}").returncode == CliExit.OK
    assert diff("trainer.optim.lr=0.1") == (1, "spec.trainer.optim.lr: 0.003 → 0.1  (needs a restart)\n")
    code, text = diff("trainer.seed=2", "ttl=1d")
    assert code == 1
    assert text.splitlines()[0] == "spec.trainer.seed: 1337 → 2  (needs a new job)"
    assert job.diff("metadata.name=nobody").returncode == CliExit.NOT_FOUND
    assert ktrain("delete", job.name, "-n", NAMESPACE).returncode == CliExit.OK


def test_checkpoints_of_a_job_are_listed_verified_and_pruned_from_outside(cluster: str) -> None:
    job = counting("kept", cluster, "trainer.duration=20step", "trainer.checkpoint.every=5step")
    assert job.wait("Succeeded", "Failed") == "Succeeded"
    listed = ktrain("checkpoints", "list", job.name, "-n", NAMESPACE, "-o", "json")
    steps = [commit["step"] for commit in json.loads(listed.stdout)]
    assert steps == [15, 20]
    assert ktrain("checkpoints", "verify", job.name, "-n", NAMESPACE).stdout == "step 15: whole\nstep 20: whole\n"
    pruned = ktrain("checkpoints", "prune", job.name, "-n", NAMESPACE, "--keep", "1", "--yes")
    assert pruned.returncode == CliExit.OK, pruned.stderr
    head = job.head()
    assert head is not None
    assert [commit.step for commit in head.commits] == [20]
    objects = {stat.key.split("/")[1] for stat in job.storage().list("a0001-")}
    assert objects == {"step-000000020"}


def test_doctor_finds_nothing_wrong_and_then_what_is(cluster: str) -> None:
    job = Job("checked", cluster, nodes=1)
    fine = job.doctor()
    assert (fine.returncode, "✗" in fine.stdout) == (CliExit.OK, False), fine.stdout
    assert "refuses a second writer" in fine.stdout
    assert "a pod of this job would be let in" in fine.stdout
    bad = job.doctor(
        "volumes=[{name: data, mountPath: /data, claim: no-such}]", "podPatch={spec: {hostNetwork: true}}",
        "storage.url=s3://no-such-bucket/runs", "resources={cpu: 1, nvidia.com/gpu: 8}",
    )  # fmt: skip
    assert bad.returncode == CliExit.FAILED
    assert "✗ objects       there is no PersistentVolumeClaim no-such" in bad.stdout
    assert 'violates PodSecurity "restricted' in bad.stdout
    assert "✗ accelerators  0 pods with 8 nvidia.com/gpu fit" in bad.stdout
    assert "no-such-bucket" in bad.stdout
