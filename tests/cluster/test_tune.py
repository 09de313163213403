"""A study whose trials are jobs of a real cluster: submitted, read from the bucket, gone on with."""

import json
import shutil
from pathlib import Path

import pytest

from ktrain.cluster import JOB
from ktrain.names import CliExit
from tests.cluster.jobs import COUNT, NAMESPACE, Job, admin, ktrain

pytestmark = pytest.mark.slow
SPACE = "tune={space: {trainer.optim.lr: {choices: [0.5, 1.0]}}, sampler: grid, parallel: 2}"


def test_the_trials_of_a_study_are_jobs_and_the_same_command_adds_to_it(cluster: str, tmp_path: Path) -> None:
    shutil.copytree(COUNT.parent, tmp_path / "count")
    job = Job("searched", cluster, nodes="{min: 1, max: 1}", file=tmp_path / "count" / "job.yaml")
    words = [word for it in job.settings("trainer.duration=20step", SPACE) for word in ("--set", it)]
    command = ("tune", str(job.file), "--cluster", "-n", NAMESPACE, *words)
    done = ktrain(*command, "-o", "json")
    assert done.returncode == CliExit.OK, done.stderr
    told = json.loads(done.stdout)
    # Each step moves the rows that it has seen by the rate: twice the rate, twice the loss.
    values = {trial["params"]["trainer.optim.lr"]: trial["value"] for trial in told["trials"]}
    assert values[1.0] == 2 * values[0.5] < 0
    assert told["trials"][0]["number"] == told["best"]
    assert told["trials"][0]["params"] == {"trainer.optim.lr": 1.0}
    assert Path(told["picture"]).stat().st_size > 1000
    names = [it["metadata"]["name"] for it in admin().list(JOB, NAMESPACE)]
    assert len([name for name in names if name.startswith(f"{job.name}-")]) == 2
    again = ktrain(*command, "-o", "json")
    assert again.returncode == CliExit.OK, again.stderr
    assert json.loads(again.stdout)["trials"] == told["trials"]  # nothing is left to try
