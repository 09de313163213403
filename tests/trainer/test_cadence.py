"""How long between two checkpoints: the formula, its bounds, and what it is fed with."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ktrain.history import Token
from ktrain.storage import open_storage
from ktrain_trainer.auto_every import AutoEvery
from ktrain_trainer.cadence import FIRST_SECONDS, LEAST_SECONDS, MOST_SECONDS, Choice, Risk, choose, optimum, young
from ktrain_trainer.past_gangs import read_past, tally
from ktrain_trainer.toll import Toll

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0


def least(of: Callable[[float], float], low: float, high: float) -> float:
    """Where a function with one valley is least."""
    for _ in range(200):
        third = (high - low) / 3
        low, high = (low, high - third) if of(low + third) < of(high - third) else (low + third, high)
    return low


def daly_time(interval: float, cost: float, mtbf: float) -> float:
    """Expected time for an hour of work, by Daly's complete model, restarts for nothing."""
    return mtbf * (math.exp((interval + cost) / mtbf) - 1) * HOUR / interval


def test_five_minutes_and_a_failure_a_day_are_youngs_two_hours() -> None:
    assert young(5 * MINUTE, DAY) == pytest.approx(2 * HOUR)


@pytest.mark.parametrize(
    ("cost", "mtbf", "within"),
    [
        pytest.param(1, DAY, 1e-5, id="a second, a day"),
        pytest.param(5 * MINUTE, DAY, 1e-5, id="five minutes, a day"),
        pytest.param(5 * MINUTE, HOUR, 1e-3, id="five minutes, an hour"),
        pytest.param(MINUTE, 10 * MINUTE, 1e-3, id="a minute, ten minutes"),
        pytest.param(10 * MINUTE, 20 * MINUTE, 1e-2, id="half of the time between two failures"),
        pytest.param(HOUR, HOUR, 2e-2, id="all of it"),
    ],
)
def test_dalys_estimate_is_where_his_model_is_least(cost: float, mtbf: float, within: float) -> None:
    best = least(lambda interval: daly_time(interval, cost, mtbf), 1e-3 * mtbf, 10 * mtbf)
    assert optimum(cost, mtbf) == pytest.approx(best, rel=within)


def test_where_saves_are_cheap_and_failures_rare_it_is_youngs() -> None:
    assert optimum(0.01, DAY) == pytest.approx(young(0.01, DAY), rel=1e-3)
    assert optimum(HOUR, HOUR) < 0.6 * young(HOUR, HOUR)


def test_a_save_that_takes_as_long_as_two_failures_is_made_once_per_failure() -> None:
    assert optimum(2 * HOUR, HOUR) == HOUR


@pytest.mark.parametrize(
    ("cost", "upload", "risk", "interval"),
    [
        pytest.param(5, 1, Risk(), optimum(5, DAY), id="nothing to bound"),
        pytest.param(0.5, 1, Risk(), 100, id="half a hundredth of the time is always there"),
        pytest.param(1e-4, 0, Risk(), LEAST_SECONDS, id="a save that costs nothing"),
        pytest.param(10, 1, Risk(failures=199), 100, id="a tenth of the time at most"),
        pytest.param(0.1, 400, Risk(), 400, id="an upload at a time"),
        pytest.param(100, 1, Risk(0, 30 * DAY), MOST_SECONDS, id="once an hour"),
        pytest.param(480, 1, Risk(), 4800, id="a tenth of the time goes before the hour"),
        pytest.param(1, 7200, Risk(), 7200, id="so does an upload"),
    ],
)
def test_an_interval_has_bounds(cost: float, upload: float, risk: Risk, interval: float) -> None:
    assert choose(cost=cost, upload=upload, risk=risk) == Choice(interval, cost, upload, risk.mtbf)


class TestRisk:
    def test_before_anything_is_seen_a_node_fails_once_a_day(self) -> None:
        assert Risk(nodes=1).mtbf == DAY
        assert Risk(nodes=48).mtbf == 30 * MINUTE

    def test_the_first_failure_says_more_than_what_was_assumed(self) -> None:
        assert Risk(failures=1, seconds=HOUR).mtbf == pytest.approx(3.1 * HOUR, rel=0.01)
        assert Risk(failures=3, seconds=30 * MINUTE).mtbf == pytest.approx(56 * MINUTE, rel=0.01)
        assert Risk(failures=0, seconds=DAY).mtbf == 11 * DAY

    def test_many_are_what_counts(self) -> None:
        assert Risk(failures=20, seconds=20 * HOUR).mtbf == pytest.approx(1.1 * HOUR, rel=0.02)
        assert Risk(failures=500, seconds=500 * HOUR).mtbf == pytest.approx(HOUR, rel=0.05)
        assert Risk(failures=419, seconds=54 * DAY, nodes=2048).mtbf == pytest.approx(3.1 * HOUR, rel=0.01)  # Llama 3


class TestToll:
    def test_steps_that_an_upload_slows_down_are_a_part_of_the_cost(self) -> None:
        toll = Toll()
        for seconds in (9.0, 1.0, 1.0, 1.0):  # the first one warms up
            toll.step(seconds, is_saving=False)
        for seconds in (1.5, 1.25):
            toll.step(seconds, is_saving=True)
        assert toll.saved(stall=0.25, upload=2.5) == 1.0
        assert (toll.cost, toll.upload) == (1.0, 2.5)

    def test_steps_that_happen_to_be_faster_give_nothing_back(self) -> None:
        toll = Toll()
        for seconds, is_saving in ((1.0, False), (1.0, False), (0.5, True)):
            toll.step(seconds, is_saving=is_saving)
        assert toll.saved(stall=0.25, upload=1) == 0.25

    def test_one_save_in_five_is_no_usual_one(self) -> None:
        toll = Toll()
        for stall in (30.0, 1.0, 1.0, 2.0, 2.0):
            toll.saved(stall=stall, upload=10 * stall)
        assert (toll.cost, toll.upload) == (2.0, 20.0)

    def test_a_save_that_failed_is_not_charged_to_the_next(self) -> None:
        toll = Toll()
        for seconds, is_saving in ((1.0, False), (1.0, False), (60.0, True)):
            toll.step(seconds, is_saving=is_saving)
        toll.dropped()
        assert toll.saved(stall=0.5, upload=1) == 0.5


class TestPast:
    def test_a_gang_that_was_counted_or_never_ended_has_failed(self) -> None:
        gangs: list[dict[str, Any]] = [
            {"started": 100, "ended": 200, "counted": True},
            {"started": 210, "ended": 310, "counted": False},  # told to go, after a checkpoint
            {"started": 320, "ended": None},  # killed with its launcher, until the next one came
            {"started": 420},
        ]
        assert tally(gangs) == (2, 300)

    def test_only_gangs_before_this_one_count_and_what_is_garbled_is_nothing(self, tmp_path: Path) -> None:
        run = open_storage(str(tmp_path))
        failed = json.dumps({"started": 100, "ended": 160, "counted": True}).encode()
        for name in ("a0001-e0001", "a0001-e0001-node1-7", "a0002-e0003", "a0003-e0004"):
            run.put(f"state/epochs/{name}.json", failed)
        run.put("state/epochs/a0001-e0002.json", b"{")
        assert read_past(run, Token(2, 3), clock=lambda: 1000.0) == (2, 60)

    def test_a_run_without_records_has_not_failed(self, tmp_path: Path) -> None:
        assert read_past(open_storage(str(tmp_path)), Token(1, 1)) == (0, 0)


class TestAuto:
    def test_the_first_save_comes_a_while_after_the_first_step_and_the_next_ones_by_the_interval(self) -> None:
        now = [0.0]
        auto = AutoEvery((0, 0), nodes=1, clock=lambda: now[0])

        def is_due(at: float) -> bool:
            now[0] = at
            return auto.is_due

        assert not is_due(600)  # it still builds
        auto.step_done(60.0, is_saving=False)
        assert [is_due(600 + FIRST_SECONDS - 1), is_due(600 + FIRST_SECONDS)] == [False, True]
        auto.began()
        auto.committed(stall=2.0, upload=20)
        assert not is_due(610 + auto.interval - 1)
        assert is_due(610 + auto.interval)

    def test_dearer_saves_are_rarer_and_failures_make_them_more_frequent(self) -> None:
        intervals = []
        for stall, failures in ((8.0, 0), (32.0, 0), (8.0, 4)):
            auto = AutoEvery((failures, 0), nodes=1, clock=lambda: 0.0)
            told = auto.committed(stall=stall, upload=1)
            assert told["interval_seconds"] == auto.interval
            intervals.append(auto.interval)
        assert intervals[1] == pytest.approx(2 * intervals[0], rel=0.02)
        assert intervals[2] == pytest.approx(intervals[0] / math.sqrt(41), rel=0.05)

    def test_time_without_a_failure_makes_them_rarer(self) -> None:
        now = [0.0]
        auto = AutoEvery((3, 0), nodes=8, clock=lambda: now[0])
        auto.committed(stall=0.5, upload=1)
        soon = auto.interval
        now[0] = HOUR
        auto.committed(stall=0.5, upload=1)
        assert auto.interval == pytest.approx(math.sqrt(13 / 3) * soon, rel=0.02)
