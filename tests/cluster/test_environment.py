"""A rank finds the same environment in a pod as under `ktrain run`."""

import json
from pathlib import Path
from typing import Final

import pytest

from ktrain.names import CliExit
from tests.cluster.jobs import NAMESPACE, Job, ktrain

pytestmark = pytest.mark.slow
PRINTER = Path(__file__).parent / "environment" / "job.yaml"
OURS = ("KTRAIN_", "TORCHELASTIC_", "GROUP_", "ROLE_", "LOCAL_", "OMP_", "PET_", "PYTHON", "TORCH_", "NCCL_")
EXACT = frozenset({"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "COLOUR"})

MAY_DIFFER: Final = {
    "KTRAIN_SPEC": "a file", "KTRAIN_SCRATCH": "a folder", "KTRAIN_SNAPSHOT_SOCKET": "a file", "KTRAIN_MEMORY": "another launcher's files", "KTRAIN_ERROR_FILE": "a file",
    "KTRAIN_TERMINATION_LOG": "a file", "TORCHELASTIC_ERROR_FILE": "a file", "KTRAIN_RUN": "another run",
    "TORCHELASTIC_RUN_ID": "another run", "MASTER_ADDR": "a pod's address", "MASTER_PORT": "any free port",
    "KTRAIN_SUBMITTED": "another moment", "KTRAIN_RDZV_HOST": "a pod's name", "KTRAIN_RDZV_PORT": "several launchers on one machine need several",
    "KTRAIN_METRICS_PORT": "several launchers on one machine need several",
}  # fmt: skip
ONLY_HERE: Final = {
    "KTRAIN_BIND": "only the loopback interface",
    "KTRAIN_STORAGE_URL": "the folder of the job file, made absolute",
}
ONLY_THERE: Final = {
    "KTRAIN_REQUEST": "the pod's annotation",
    "KTRAIN_CODE": "here the code is the folder itself",
    "PYTHON_VERSION": "of the base image",
}


def environments(text: str) -> dict[int, dict[str, str]]:
    found = [json.loads(line.partition("environment ")[2]) for line in text.splitlines() if "environment {" in line]
    return {int(it["RANK"]): {name: value for name, value in it.items() if _is_ours(name)} for it in found}


def _is_ours(name: str) -> bool:
    return name in EXACT or (name.startswith(OURS) and name != "KTRAIN_KEEP_CLUSTER")


def test_a_rank_finds_the_same_in_a_pod_and_here(cluster: str, tmp_path: Path) -> None:
    ran = ktrain("run", str(PRINTER), "--set", f"storage.url={tmp_path}", "--quiet")
    assert ran.returncode == CliExit.OK, ran.stderr
    job = Job("environment", cluster, file=PRINTER)
    assert job.submit("procsPerNode=2").returncode == CliExit.OK
    assert job.wait("Succeeded", "Failed") == "Succeeded"
    here = environments(ran.stdout + ran.stderr)
    there = environments(ktrain("logs", job.name, "-n", NAMESPACE).stdout)
    assert sorted(here) == sorted(there) == [0, 1, 2, 3]
    for rank, mine in here.items():
        theirs = there[rank]
        assert set(mine) - set(theirs) <= set(ONLY_HERE)
        assert set(theirs) - set(mine) <= set(ONLY_THERE)
        differ = {name for name in set(mine) & set(theirs) if mine[name] != theirs[name]}
        assert differ <= set(MAY_DIFFER), {name: (mine[name], theirs[name]) for name in differ - set(MAY_DIFFER)}
