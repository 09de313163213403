"""When a job on a cluster trains again, and whose the time until then was. On plain objects; the real ones in tests/cluster."""

from typing import Any

import pytest

from ktrain.chaos.look import Look, recovery, trains_again
from ktrain.chaos.trace import Fault, Kind, Struck

AHEAD = 100.0  # of the pod's clock


def pod(uid: str, *, placed: bool = True, started: bool = True) -> dict[str, Any]:
    state: dict[str, Any] = {"running": {}} if started else {"waiting": {}}
    return {
        "metadata": {"uid": uid, "name": uid},
        "spec": {"nodeName": "n1"} if placed else {},
        "status": {"phase": "Running", "containerStatuses": [{"state": state}]},
    }


def seen(at: float, *pods: dict[str, Any], epoch: int = 0, step_at: float = 0, restored: int = 0) -> Look:
    """With rank 0's newest step at a time of this machine."""
    rank = {"rank": 0, "step": 7, "last_step_at": step_at + AHEAD if step_at else 0, "restored_step": restored}
    page = {"epoch": epoch, "now": at + AHEAD, "ranks": [rank]} if epoch else {}
    return Look(at, {it["metadata"]["uid"]: it for it in pods}, page)


def struck(kind: Kind, *, step: int = 12) -> Struck:
    return Struck(Fault(0, kind, 0.5, 4.0), 10.0, "pod a", step, 10)


BEFORE = seen(9.9, pod("a"), pod("b"), epoch=1, step_at=9.8)


def test_a_step_of_the_next_epoch_is_back() -> None:
    killed = struck(Kind.RANK_KILL)
    assert not trains_again(seen(11, pod("a")), BEFORE, killed)  # nobody says anything
    assert not trains_again(seen(11, pod("a"), epoch=1, step_at=10.4), BEFORE, killed)  # a step that was on its way
    assert not trains_again(seen(12, pod("a"), epoch=2), BEFORE, killed)  # it restores
    assert trains_again(seen(13, pod("a"), epoch=2, step_at=12.9), BEFORE, killed)


def test_a_frozen_rank_is_back_when_it_goes_on_or_was_replaced() -> None:
    frozen = struck(Kind.FREEZE)
    assert not trains_again(seen(13, pod("a"), epoch=1, step_at=10.1), BEFORE, frozen)
    assert trains_again(seen(15, pod("a"), epoch=1, step_at=14.6), BEFORE, frozen)
    assert trains_again(seen(13, pod("a"), epoch=2, step_at=12.9), BEFORE, frozen)


def test_the_time_is_told_by_whose_it_was() -> None:
    looks = [
        seen(10.5, pod("b")),
        seen(11.0, pod("b"), pod("c", placed=False, started=False)),
        seen(11.5, pod("b"), pod("c", started=False)),
        seen(14.0, pod("b"), pod("c")),
        seen(17.0, pod("b"), pod("c"), epoch=2),
        seen(18.25, pod("b"), pod("c"), epoch=2, step_at=18.0, restored=10),
    ]
    found = recovery(struck(Kind.POD_LOSS), BEFORE, looks)
    assert [name for name, _ in found.parts] == ["replaced", "scheduled", "started", "met", "restored"]
    assert [seconds for _, seconds in found.parts] == pytest.approx([1.0, 0.5, 2.5, 3.0, 1.0])
    assert found.seconds == pytest.approx(8.0)
    assert found.lost == 2


def test_what_restarts_in_place_has_no_pods_to_wait_for() -> None:
    looks = [
        seen(10.5, pod("a"), pod("b"), epoch=1),
        seen(11.0, pod("a"), pod("b"), epoch=2, step_at=10.9, restored=12),
    ]
    found = recovery(struck(Kind.RANK_KILL), BEFORE, looks)
    assert [name for name, _ in found.parts] == ["met", "restored"]
    assert found.lost == 0
