"""How long until a job on a real cluster steps again, and whose time that is: the operator's, Kubernetes', or ktrain's?

    python benchmarks/recovery_cluster.py [--quick] [--count 10] [--down]

The test cluster's two nodes, the official operator, the chart's controllers with their default flags, S3 in RAM. `ktrain chaos
--cluster` strikes a job of two pods: one of fixed size, which waits for the replacement, and an elastic one, which does not.
Then the machine under one of the pods dies.
"""

import _cluster_place  # noqa: I001  -- first: it says where that cluster is

import argparse
import os
import statistics
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from _harness import Row, publish

from hack.cluster import cluster as testbed
from hack.cluster import images, network, nodes
from hack.cluster.layout import ADMIN
from ktrain.chaos.judge import Recovery
from ktrain.chaos.siege import Siege
from ktrain.chaos.trace import Fault, Kind, trace
from ktrain.cluster import Cluster
from tests.cluster import release
from tests.cluster.conftest import _missing, _prepare
from tests.cluster.hosts import is_ready, spare
from tests.cluster.jobs import ELASTIC, NAMESPACE, Job, counting, until

KINDS: Final = (Kind.RANK_KILL, Kind.POD_KILL, Kind.PREEMPT, Kind.POD_LOSS)
SETS: Final = (
    "trainer.duration=1000000step", "trainer.eval.every=1000000step", "trainer.checkpoint={every: 1min, memoryEvery: 1step}",
    "restart.max=1000", "restart.inPlace=1000",
)  # fmt: skip
PATIENCE: Final = 300.0
BETWEEN: Final = 15.0  # seconds, on average
WHOSE: Final = {
    "replaced": "until there is another pod: operator, controller",
    "scheduled": "until it has a node: Kubernetes",
    "started": "until its container runs: Kubernetes",
    "met": "until the ranks run: ktrain",
    "restored": "until the first step: ktrain",
}
GOALS: Final = {("fixed", Kind.RANK_KILL): 2.0, ("elastic", Kind.POD_LOSS): 5.0}


@dataclass
class NodeLoss(Siege):
    """The machine under the pod dies, in place of the pod alone."""

    def _act(self, fault: Fault, pod: dict[str, Any]) -> str:  # noqa: ARG002
        node = spare()
        nodes.kill(node)
        return f"node {node.name}"


def main() -> None:
    """One cluster for everything; SystemExit with a sentence where there can be none."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--count", type=int, default=10)
    parser.add_argument("--down", action="store_true", help="end what a run that was killed has left")
    given = parser.parse_args()
    count = 2 if given.quick else given.count
    if missing := _missing():
        print(f"recovery_cluster: left out: {missing}", file=sys.stderr)
    elif given.down:
        testbed.down()
    else:
        with cluster() as image:
            rows = [*struck("fixed", image, count), *struck("elastic", image, count, ELASTIC), *of_node_loss(image)]
        publish("recovery_cluster", rows, note=f"two pods of one rank, {count} faults of each kind; medians; seconds")


@contextmanager
def cluster() -> Iterator[str]:
    """Up, with the chart installed, and this process in its network; gives the worker image."""
    os.environ["KUBECONFIG"] = str(ADMIN)
    with _cluster_place.taken_down("recovery_cluster", testbed.down):
        testbed.up(2)
        network.enter()
        _prepare()
        image = images.build("worker")
        with tempfile.TemporaryDirectory() as folder, release.installed(release.today(Path(folder))):
            yield image


@contextmanager
def training(name: str, image: str, *sets: str) -> Iterator[Job]:
    """A job that makes steps."""
    job = counting(name, image, *SETS, *sets)
    yield job
    job.end()
    until("no pods", lambda: not job.pods())


def struck(size: str, image: str, count: int, *sets: str) -> list[Row]:
    """Each kind so many times."""
    rows = []
    with training(f"bench-{size}", image, *sets) as job:
        for kind in KINDS:
            faults = trace(1, count=count, mean_seconds=BETWEEN, kinds=(kind,))
            rows += table(f"{size}: {kind}", _play(Siege, job, faults), GOALS.get((size, kind)))
    return rows


def of_node_loss(image: str) -> list[Row]:
    """Once: a node is not lost twice."""
    with training("bench-node", image) as job:
        try:
            found = _play(NodeLoss, job, trace(1, count=1, mean_seconds=1, kinds=(Kind.POD_LOSS,)))
        finally:
            nodes.revive(spare())
            until("the node is back", lambda: is_ready(spare()), seconds=90)
    return table("fixed: node loss", found, None)


def _play(kind: type[Siege], job: Job, faults: Sequence[Fault]) -> Sequence[Recovery]:
    siege = kind(Cluster.connect(), NAMESPACE, job.name, lambda told: print(f"  {told}", file=sys.stderr), PATIENCE)
    game = siege.play(faults)
    assert game.code == 0, "\n".join(it.line for it in game.verdicts)
    return game.recoveries


def table(name: str, found: Sequence[Recovery], goal: float | None) -> list[Row]:
    """The whole, its parts, and what was done twice."""
    seconds = sorted(it.seconds for it in found)
    holds = None if goal is None else seconds[-1] <= goal
    rows = [
        Row(f"{name}, until the next step", statistics.median(seconds), "s"),
        Row(
            f"{name}, the worst of {len(seconds)}", seconds[-1], "s", goal=f"<= {goal:g} s" if goal else "", holds=holds
        ),
    ]
    for part, whose in WHOSE.items():
        if parts := [dict(it.parts)[part] for it in found if part in dict(it.parts)]:
            rows.append(Row(f"  {whose}", statistics.median(parts), "s"))
    rows.append(Row("  steps made again, at most", float(max(it.lost or 0 for it in found)), ""))
    return rows


if __name__ == "__main__":
    main()
