"""A game day against a job that trains on the cluster: `ktrain chaos JOB --cluster`."""

import json

import pytest

from ktrain.names import CliExit
from tests.cluster.jobs import NAMESPACE, counting, ktrain, until

pytestmark = pytest.mark.slow
KINDS = ("rank-kill", "pod-kill", "pod-loss", "preempt", "freeze")
ONE_OF_EACH = "89"  # the seed whose five faults are these, each once, on both pods


def test_one_fault_of_each_kind_is_mended_and_told_part_by_part(cluster: str) -> None:
    job = counting(
        "struck", cluster, "trainer.duration=100000step", "trainer.checkpoint={every: 20step, memoryEvery: 1step}"
    )
    faults = [word for kind in KINDS for word in ("--fault", kind)]
    asked = (
        "chaos",
        job.name,
        "--cluster",
        "-n",
        NAMESPACE,
        "--seed",
        ONE_OF_EACH,
        "--count",
        "5",
        "--every",
        "1s",
        *faults,
    )
    unasked = ktrain(*asked)
    assert (unasked.returncode, "say --yes or --plan" in unasked.stderr) == (CliExit.USAGE, True)
    before = {it["metadata"]["uid"] for it in job.pods().values()}
    answer = ktrain(*asked, "--yes", "--patience", "2m", "-o", "json")
    print(answer.stderr)
    assert answer.returncode == CliExit.OK, answer.stderr
    told = json.loads(answer.stdout)
    assert {it["name"]: it["ok"] for it in told["verdicts"]} == dict.fromkeys(
        ("goes on", "resumes", "loses", "recovers"), True
    )
    assert sorted(it["kind"] for it in told["faults"]) == sorted(KINDS)
    recoveries = {it["kind"]: it for it in told["recoveries"]}
    assert {"replaced", "scheduled", "started", "met", "restored"} == recoveries["pod-loss"]["parts"].keys()
    assert recoveries["rank-kill"]["parts"].keys() == {"met", "restored"}
    for it in recoveries.values():
        assert it["seconds"] == pytest.approx(sum(it["parts"].values()), abs=0.5) or it["kind"] == "freeze"
    assert recoveries["preempt"]["lost"] == 0
    now = {it["metadata"]["uid"] for it in job.pods().values()}
    assert len(now - before) >= 1
    job.end()
    until("no pods", lambda: not job.pods())
    gone = ktrain("chaos", job.name, "--cluster", "-n", NAMESPACE, "--yes")
    assert (gone.returncode, "there is no job 'struck'" in gone.stderr) == (CliExit.NOT_FOUND, True)
