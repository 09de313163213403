"""Traces of faults."""

from itertools import pairwise
from statistics import mean

import pytest

from ktrain.chaos.trace import LASTS, USUAL, Kind, trace


def test_the_same_seed_makes_the_same_faults() -> None:
    first = trace(7, count=20, mean_seconds=30)
    assert first == trace(7, count=20, mean_seconds=30)
    assert first[:5] == trace(7, count=5, mean_seconds=30)
    assert first != trace(8, count=20, mean_seconds=30)


def test_faults_come_as_a_poisson_process() -> None:
    found = trace(1, count=4000, mean_seconds=30)
    gaps = [after.at - before.at for before, after in pairwise(found)]
    assert all(gap > 0 for gap in gaps)
    assert mean(gaps) == pytest.approx(30, rel=0.05)
    assert sum(gap > 30 for gap in gaps) / len(gaps) == pytest.approx(0.368, abs=0.03)  # 1/e, as of no other spacing
    assert {it.kind for it in found} == set(USUAL)
    assert all(0 <= it.draw < 1 and LASTS[0] <= it.seconds <= LASTS[1] for it in found)


def test_only_the_kinds_that_are_asked_for() -> None:
    assert {it.kind for it in trace(1, count=50, mean_seconds=1, kinds=[Kind.PREEMPT])} == {Kind.PREEMPT}


@pytest.mark.parametrize(("mean_seconds", "kinds"), [(0.0, USUAL), (-1.0, USUAL), (1.0, ())])
def test_a_trace_of_nothing_is_refused(mean_seconds: float, kinds: tuple[Kind, ...]) -> None:
    with pytest.raises(ValueError, match="needs kinds of faults, and time"):
        trace(1, count=1, mean_seconds=mean_seconds, kinds=kinds)
