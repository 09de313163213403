"""The launcher's environment: read once, wrong values told in one sentence."""

from pathlib import Path

import pytest

from ktrain.errors import SpecError
from ktrain_launcher.pod import Pod

LEAST = {"KTRAIN_SPEC": "spec.json", "KTRAIN_SCRATCH": "/scratch"}


def test_a_single_node_needs_little() -> None:
    pod = Pod.read(LEAST)
    assert (pod.node_rank, pod.num_nodes, pod.nproc, pod.rdzv_host) == (0, 1, None, "127.0.0.1")
    assert pod.termination_log == Path("/dev/termination-log")


def test_a_full_environment_is_read() -> None:
    pod = Pod.read(
        LEAST
        | {"KTRAIN_NODE_RANK": "1", "KTRAIN_NUM_NODES": "2", "KTRAIN_NPROC": "8", "KTRAIN_RDZV_HOST": "gpt-worker-0"}
        | {"KTRAIN_RDZV_PORT": "29400", "KTRAIN_ATTEMPT": "3", "KTRAIN_METRICS_PORT": "0", "KTRAIN_BIND": "::1"}
    )
    assert (pod.node_rank, pod.num_nodes, pod.nproc, pod.rdzv_host) == (1, 2, 8, "gpt-worker-0")
    assert (pod.rdzv_port, pod.attempt, pod.metrics_port, pod.bind) == (29400, 3, 0, "::1")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        pytest.param({"KTRAIN_SPEC": ""}, "KTRAIN_SPEC is not set", id="no spec"),
        pytest.param({"KTRAIN_NUM_NODES": "two"}, "KTRAIN_NUM_NODES is 'two'; expected a whole number", id="a word"),
        pytest.param({"KTRAIN_NUM_NODES": "0"}, "from 1 to 10000", id="no nodes"),
        pytest.param({"KTRAIN_NUM_NODES": "2"}, "KTRAIN_NODE_RANK is not set", id="which of two"),
        pytest.param({"KTRAIN_NUM_NODES": "2", "KTRAIN_NODE_RANK": "2"}, "from 0 to 1", id="a third of two"),
        pytest.param({"KTRAIN_NUM_NODES": "2", "KTRAIN_NODE_RANK": "1"}, "KTRAIN_RDZV_HOST is not set", id="no host"),
        pytest.param({"KTRAIN_METRICS_PORT": "99999"}, "from 0 to 65535", id="no such port"),
        pytest.param({"KTRAIN_ATTEMPT": "-1"}, "KTRAIN_ATTEMPT is '-1'", id="negative"),
        pytest.param({"KTRAIN_ATTEMPT": "²"}, "KTRAIN_ATTEMPT is '²'", id="a digit that is no number"),
    ],
)
def test_wrong_values_are_told_in_a_sentence(changes: dict[str, str], sentence: str) -> None:
    with pytest.raises(SpecError, match=sentence):
        Pod.read(LEAST | changes)


def test_folders_below_scratch_are_made_and_no_others(tmp_path: Path) -> None:
    scratch = tmp_path / "scratch"
    pod = Pod.read({"KTRAIN_SPEC": "spec.json", "KTRAIN_SCRATCH": str(scratch)})
    pod.make_folders({"HOME": f"{scratch}/home", "TMPDIR": f"{scratch}/tmp", "HF_HOME": str(tmp_path / "elsewhere")})
    assert sorted(it.name for it in scratch.iterdir()) == ["home", "tmp"]
    assert not (tmp_path / "elsewhere").exists()
