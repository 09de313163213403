"""A job's account, bounded by the API server's own times."""

from typing import Any

import pytest

from ktrain.goodput import PRODUCTIVE, Account, Pending
from ktrain.picture import Picture
from ktrain.status.kept import Kept
from ktrain.status.observe import Facts
from ktrain.status.time import bounded, spent_by

Object = dict[str, Any]
NOON = 1_790_000_000.0  # of the API's times below
WORKED = Account(NOON - 1, NOON + 60, {"queue": 11.0, PRODUCTIVE: 40.0}, Pending(10, 4, 9))


def at(seconds: int) -> str:
    minute, second = divmod(seconds, 60)
    return f"2026-09-21T14:{13 + minute:02d}:{20 + second:02d}Z"


def job(end: int | None = None, condition: str = "Running", gpus: int = 0) -> Object:
    container = {"resources": {"limits": {"nvidia.com/gpu": gpus}} if gpus else {}}
    worker = {"replicas": 2, "template": {"metadata": {}, "spec": {"containers": [container]}}}
    return {
        "metadata": {"creationTimestamp": at(0)},
        "spec": {"pytorchReplicaSpecs": {"Worker": worker}},
        "status": {
            "conditions": [{"type": condition, "status": "True"}],
            **({} if end is None else {"completionTime": at(end)}),
        },
    }


def pending(index: int, scheduled: int | None) -> Object:
    conditions = (
        [] if scheduled is None else [{"type": "PodScheduled", "status": "True", "lastTransitionTime": at(scheduled)}]
    )
    return {
        "metadata": {"labels": {"training.kubeflow.org/replica-index": str(index)}},
        "status": {"phase": "Pending", "conditions": conditions},
    }


def check(account: Account, seconds: dict[str, float], *, wall: float, pending: float = 0) -> None:
    assert {name: it for name, it in account.seconds.items() if it} == pytest.approx(seconds)
    assert (account.wall, account.pending.seconds) == (wall, pending)
    assert sum(account.seconds.values()) + account.pending.seconds == pytest.approx(wall)


def test_the_test_reads_its_own_clock_rightly() -> None:
    assert bounded(None, job(), (), NOON).begin == NOON


def test_a_job_that_never_got_a_pod_waits() -> None:
    check(bounded(None, job(), (), NOON + 30), {"queue": 30}, wall=30)
    check(bounded(None, job(), (pending(0, None),), NOON + 30), {"queue": 30}, wall=30)


def test_a_pod_that_has_its_node_pulls() -> None:
    check(bounded(None, job(), (pending(0, 10),), NOON + 30), {"queue": 10, "pull": 20}, wall=30)
    check(bounded(None, job(), (pending(1, 10),), NOON + 30), {"queue": 30}, wall=30)  # node 0's is what counts


def test_the_object_was_made_after_the_submission() -> None:
    check(bounded(WORKED, job(), (), NOON + 60), {"queue": 10, PRODUCTIVE: 40}, wall=60, pending=10)


def test_the_end_decides_what_was_pending() -> None:
    check(bounded(WORKED, job(62, "Succeeded"), (), NOON + 500), {"queue": 10, PRODUCTIVE: 50, "lost_work": 2}, wall=62)
    check(bounded(WORKED, job(62, "Failed"), (), NOON + 500), {"queue": 10, PRODUCTIVE: 40, "lost_work": 12}, wall=62)


def test_a_launcher_that_left_in_order_is_waited_for() -> None:
    closed = Account(WORKED.begin, WORKED.until, WORKED.seconds, WORKED.pending, is_closed=True)
    found = bounded(closed, job(), (pending(0, 70),), NOON + 90)
    check(found, {"queue": 20, "pull": 20, PRODUCTIVE: 40}, wall=90, pending=10)


def test_who_runs_is_believed_before_what_was_kept() -> None:
    picture = Picture(account={"begin": NOON, "until": NOON + 60, "seconds": {PRODUCTIVE: 60.0}})
    facts = Facts(job(gpus=4), (), (), frozenset(), picture, Kept(account=WORKED))
    spent = spent_by(facts, NOON + 60)
    assert (spent.time.productive, spent.gpus) == (60, 8)
    kept = spent_by(Facts(job(), (), (), frozenset(), Picture(), Kept(account=WORKED)), NOON + 60)
    assert (kept.time.productive, kept.gpus) == (40, 0)
