"""Of ranks that all stand still, the one that the others wait for."""

import os
import signal
from pathlib import Path

import pytest

from ktrain_launcher.suspects import Suspect, worst
from tests.launcher.gang import gang, until


def suspect(rank: int, *, step: int = 10, process: str = "S") -> Suspect:
    return Suspect(node=rank, rank=rank, step=step, phase="train", seconds=2.0, process=process)


@pytest.mark.parametrize(
    ("suspects", "rank"),
    [
        ([suspect(0), suspect(1, process="T")], 1),
        ([suspect(0, step=9), suspect(1, process="T")], 1),
        ([suspect(0), suspect(1, step=9)], 1),
        ([suspect(0), suspect(1, process="D"), suspect(2, step=9)], 1),
        ([suspect(1), suspect(0)], 0),
    ],
    ids=["stopped", "stopped before slow", "least far", "waits for a disk", "nothing tells them apart"],
)
def test_who_stopped_first(suspects: list[Suspect], rank: int) -> None:
    assert worst(suspects).rank == rank


@pytest.mark.slow
def test_a_frozen_rank_is_named_and_the_one_that_waits_for_it_is_not(tmp_path: Path) -> None:
    with gang(tmp_path, "gloo.py", "0", "1000000000", num_nodes=2, spec={"hang": {"timeout": "2s"}}) as job:
        until(
            lambda: (
                [it.get("step", 0) > 3 for node in job.nodes.values() for it in node.status()["ranks"]] == [True] * 2
            )
        )
        os.kill(int(job.marks("start1")[0]), signal.SIGSTOP)
        until(lambda: len(job.epochs()) > 1 and job.epochs()[0]["ended"])
        first = job.epochs()[0]
        restarts = [node.status()["restarts"] for node in job.nodes.values()]
    assert (first["cause"], first["first_failure"]["rank"]) == ("hang", 1)
    assert "phase train, stopped by a signal" in first["first_failure"]["message"]
    assert restarts == [1, 1]
    assert job.nodes[0].output.count("event=hang ") == 1  # it said where its own rank stood
