"""Observations as short as a test wants them."""

from dataclasses import replace
from typing import Any

from ktrain.spec.policy import Policy
from ktrain_controller.beat import Beat, RankBeat, RankPace
from ktrain_controller.model import Exit, Job, Node, Pod
from ktrain_controller.observation import Observation
from ktrain_controller.state import Incident, State

NOW = 1_000_000.0


def policy(**keys: Any) -> Policy:
    return Policy.model_validate({"nodes": 2, **keys})


def job(**fields: Any) -> Job:
    made = Job(
        namespace="research", name="demo", uid="job-1", version="10", created=NOW - 5000, attempt=1, replicas=2,
        is_suspended=False, queue="", policy="", state="", phase="Running", started=NOW - 4000,
    )  # fmt: skip
    return replace(made, **fields)


def pod(index: int = 0, **fields: Any) -> Pod:
    made = Pod(
        namespace="research", name=f"demo-worker-{index}", uid=f"pod-{index}", version="5", job="demo", index=index,
        attempt=1, phase="Running", created=NOW - 3000, node=f"node-{index}", ip="10.0.0.1", port=9400,
        started=NOW - 2999,
    )  # fmt: skip
    return replace(made, **fields)


def failed(index: int = 0, code: int = 139, *, at: float = NOW - 1, **fields: Any) -> Pod:
    reason, checkpoint = fields.pop("why", "Error"), fields.pop("checkpoint", None)
    ended = Exit(code, reason, at, cause="crash", message="boom", rank=3, checkpoint=checkpoint)
    return pod(index, phase="Failed", exit=ended, **fields)


def node(name: str = "node-0", **fields: Any) -> Node:
    return replace(Node(name, "3", is_ready=True, since=NOW - 9000), **fields)


def beat(**fields: Any) -> Beat:
    ranks = tuple(RankBeat(rank, step=100, phase="train", last_step_at=NOW - 2) for rank in range(2))
    made = Beat(
        heard_at=NOW - 1, state="running", epoch=1, attempt=1, restarts=0, step=100, phase="train",
        last_step_at=NOW - 2, hang_limit=60.0, checkpoint_step=90, checkpoint_at=NOW - 5, world_size=2, ranks=ranks,
    )  # fmt: skip
    return replace(made, **fields)


def seen(**fields: Any) -> Observation:
    """Two pods on two good nodes, training."""
    made = Observation(
        now=NOW, job=job(), policy=policy(), state=State(), pods=(pod(0), pod(1)),
        nodes={"node-0": node("node-0"), "node-1": node("node-1")}, beat=beat(),
    )  # fmt: skip
    return replace(made, **fields)


def incidents(count: int, *, last: float = NOW - 200, every: float = 100) -> tuple[Incident, ...]:
    return tuple(Incident(last - every * back, True, "boom") for back in reversed(range(count)))


def paced(steps: int, *busy: float, data: float = 0.0, per_pod: int = 1, **fields: Any) -> Beat:
    """After so many steps, of each of which ranks work for so long; `data`: the share for which the slowest waits for data."""
    longest = max(busy)
    pace = tuple(
        RankPace(
            rank,
            rank // per_pod,
            steps,
            steps * longest,
            steps * (longest - mine),
            steps * data * mine * (mine == longest),
        )
        for rank, mine in enumerate(busy)
    )
    return beat(**{"world_size": len(busy), "pace": pace, **fields})
