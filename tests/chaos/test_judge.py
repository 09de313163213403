"""What is said of a run that went through faults: each verdict, and what makes it fail."""

from typing import Any

import pytest

from ktrain.chaos import judge
from ktrain.chaos.judge import Recovery
from ktrain.chaos.trace import Fault, Kind, Struck
from ktrain.records import Records


def struck(at: float, *, kind: Kind = Kind.RANK_KILL, step: int | None = 10, committed: int | None = 8) -> Struck:
    return Struck(Fault(at, kind, 0.5, 2.0), at, "rank 0", step, committed)


def records(*lines: tuple[str, float, int, Any]) -> Records:
    """(kind, time, step, restored step or loss)."""
    names = {"start": "restored_step", "step": "loss"}
    return Records(
        tuple({"kind": kind, "time": at, "step": step, names[kind]: more} for kind, at, step, more in lines), 0
    )


RUN = records(
    ("start", 0.0, 0, 0), ("step", 1.0, 1, 0.5), ("step", 10.0, 10, 0.4),
    ("start", 12.0, 9, 9), ("step", 13.5, 10, 0.4), ("step", 14.0, 11, 0.3),
)  # fmt: skip


def test_how_long_and_how_much_a_fault_cost() -> None:
    assert judge.recoveries([struck(11.0)], RUN) == [Recovery(Kind.RANK_KILL, 2.5, 1)]


def test_a_fault_that_cost_no_epoch_is_no_recovery() -> None:
    assert judge.recoveries([struck(13.0, kind=Kind.OUTAGE)], RUN) == []


def test_an_epoch_is_counted_for_the_last_fault_before_it() -> None:
    found = judge.recoveries([struck(10.5, kind=Kind.FREEZE), struck(11.0, kind=Kind.POD_KILL, step=None)], RUN)
    assert found == [Recovery(Kind.POD_KILL, 2.5, None)]


@pytest.mark.parametrize(("committed", "ok"), [(None, True), (8, True), (9, True), (10, False)])
def test_what_was_committed_must_not_be_lost(committed: int | None, ok: bool) -> None:
    verdict = judge.never_older([struck(11.0, committed=committed)], RUN)
    assert verdict.ok is ok
    assert verdict.told == ("step 10 was committed, and step 9 restored" if not ok else
                            "1 restart, each from the newest commit or a newer copy in memory")  # fmt: skip


@pytest.mark.parametrize(
    ("kind", "lost", "every", "ok"),
    [(Kind.PREEMPT, 0, None, True), (Kind.PREEMPT, 1, None, False), (Kind.RANK_KILL, 5, None, True),
     (Kind.RANK_KILL, 1, 1, True), (Kind.RANK_KILL, 2, 1, False), (Kind.FREEZE, 2, 1, False), (Kind.POD_KILL, 50, 1, True)],
)  # fmt: skip
def test_steps_that_may_be_lost(kind: Kind, lost: int, every: int | None, ok: bool) -> None:
    assert judge.loses([Recovery(kind, 1.0, lost)], memory_every=every).ok is ok


def test_the_worst_of_each_kind_is_told() -> None:
    found = [Recovery(Kind.POD_KILL, 1.0, 4), Recovery(Kind.POD_KILL, 3.0, 7), Recovery(Kind.PREEMPT, 2.0, 0)]
    assert judge.loses(found, memory_every=None).told == "at most: pod-kill 7 steps, preempt 0 steps"
    assert judge.recovers(found).told == "pod-kill 2.0 s (worst 3.0), preempt 2.0 s (worst 2.0)"


def test_one_loss_that_differs_is_found() -> None:
    twin = records(("start", 0.0, 0, 0), *(("step", float(it), it, 0.5 - it / 100) for it in range(1, 12)))
    ours = records(*((line["kind"], line["time"], line["step"], line.get("loss", 0)) for line in twin.all))
    assert judge.same_curve(ours, twin, is_exact=True).ok
    bent = Records((*ours.all[:-1], {**ours.all[-1], "loss": 0.39000000000000007}), 0)
    assert not judge.same_curve(bent, twin, is_exact=True).ok
    assert judge.same_curve(bent, twin, is_exact=False).ok
    broken = Records((*ours.all[:-1], {**ours.all[-1], "loss": 0.35}), 0)
    verdict = judge.same_curve(broken, twin, is_exact=False)
    assert (verdict.ok, verdict.told[:13]) == (False, "from step 11 ")


def test_a_run_without_steps_equals_nothing() -> None:
    empty = Records((), 0)
    assert not judge.same_curve(empty, empty, is_exact=True).ok
    assert not judge.same_state(None, None).ok
    assert not judge.same_state("a", "b").ok
    assert judge.same_state("a", "a").ok
