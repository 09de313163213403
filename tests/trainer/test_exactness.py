"""A run that was disturbed ends with the parameters of the run that was not. Real processes, real signals."""

import functools
import signal
from collections import Counter
from pathlib import Path

import pytest
import torch

from tests.ranks import Outcome, run_ranks, values
from tests.trainer.mlp import NUM_SAMPLES, Case, Ended, differences

TRAIN = "tests.trainer.mlp:train"


def gang(size: int, case: Case, folder: Path | None = None) -> list[Outcome]:
    return run_ranks(TRAIN, size, case, str(folder) if folder else None, kill_peers=True)


@functools.cache
def undisturbed(size: int, strategy: str = "auto", dtype: str = "float32", steps: int = 60) -> Ended:
    ended: Ended = values(gang(size, Case(strategy=strategy, dtype=dtype, steps=steps)))[0]
    return ended


def assert_equal(ended: Ended, expected: Ended) -> None:
    assert ended.step == expected.step
    for one, other in zip(ended.params, expected.params, strict=True):
        assert torch.equal(one, other)
    assert ended.metrics == expected.metrics


@pytest.mark.parametrize("size", [1, 2, 3, 4])
@pytest.mark.parametrize("strategy", ["auto", "fsdp2"])
def test_a_preempted_run_is_resumed_bit_exactly(tmp_path: Path, size: int, strategy: str) -> None:
    case = Case(strategy=strategy, signal=signal.SIGTERM, at=33, by=size - 1)
    stopped = values(gang(size, case, tmp_path))
    assert all(ended.is_stopping for ended in stopped)
    assert {ended.step for ended in stopped} <= {34, 35}  # one agreed step, at most two after the signal
    resumed = values(gang(size, Case(strategy=strategy), tmp_path))[0]
    assert resumed.restored_step == stopped[0].step
    assert_equal(resumed, undisturbed(size, strategy))


@pytest.mark.parametrize(
    "case",
    [
        pytest.param(Case(signal=signal.SIGTERM, at=33, by=0), id="SIGTERM to rank 0"),
        pytest.param(Case(signal=signal.SIGTERM, on="eval", at=9, by=1), id="SIGTERM during eval"),
        pytest.param(Case(signal=signal.SIGTERM, at=19, by=1), id="SIGTERM in the step before an evaluation"),
        pytest.param(Case(signal=signal.SIGTERM, on="save", at=2, by=0), id="SIGTERM during a save"),
        pytest.param(Case(signal=signal.SIGKILL, at=33, by=0), id="SIGKILL of rank 0"),
        pytest.param(Case(signal=signal.SIGKILL, at=33, by=1), id="SIGKILL of rank 1"),
        pytest.param(Case(signal=signal.SIGKILL, on="save", at=2, by=1), id="SIGKILL during a save"),
        pytest.param(Case(signal=signal.SIGKILL, on="eval", at=9, by=0), id="SIGKILL during eval"),
    ],
)
def test_wherever_it_is_hit_the_run_goes_on_bit_exactly(tmp_path: Path, case: Case) -> None:
    hit = gang(2, case, tmp_path)
    assert all(it.exit_code for it in hit) or all(it.value.is_stopping for it in hit)
    assert_equal(values(gang(2, Case(), tmp_path))[0], undisturbed(2))


@pytest.mark.parametrize("strategy", ["auto", "fsdp2"])
@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-6)])
def test_the_number_of_ranks_changes_nothing_but_the_order_of_sums(strategy: str, dtype: str, tolerance: float) -> None:
    alone = undisturbed(1, "auto", dtype, 200)
    for size in (2, 3, 4):
        other = undisturbed(size, strategy, dtype, 200)
        assert relative(alone.params, other.params) <= tolerance


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-12), ("float32", 1e-6)])
def test_an_elastic_run_is_the_run_of_one_rank(tmp_path: Path, dtype: str, tolerance: float) -> None:
    values(gang(2, Case(steps=200, dtype=dtype, signal=signal.SIGTERM, at=77), tmp_path))
    values(gang(4, Case(steps=200, dtype=dtype, signal=signal.SIGTERM, at=130, by=3), tmp_path))
    ended = values(gang(1, Case(steps=200, dtype=dtype), tmp_path))[0]
    assert ended.restored_step in {131, 132}
    assert relative(ended.params, undisturbed(1, "auto", dtype, 200).params) <= tolerance


@pytest.mark.parametrize(("first", "then"), [("ddp", "fsdp2"), ("fsdp2", "ddp")])
def test_a_checkpoint_of_one_strategy_loads_into_the_other(tmp_path: Path, first: str, then: str) -> None:
    values(gang(2, Case(strategy=first, signal=signal.SIGTERM, at=33), tmp_path))
    ended = values(gang(2, Case(strategy=then), tmp_path))[0]
    assert ended.restored_step in {34, 35}
    assert relative(ended.params, undisturbed(2).params) <= 1e-6


def test_each_sample_is_seen_once_per_epoch_at_any_number_of_ranks(tmp_path: Path) -> None:
    """Two ranks, killed by a signal, then three, then one: what was trained on is each sample, once per epoch."""
    seen: Counter[int] = Counter()
    for size, at in ((2, 4), (3, 9), (1, 10**6)):
        case = Case(duration="3ep", signal=signal.SIGTERM, at=at)
        ended = values(gang(size, case, tmp_path))
        seen.update(sum((it.seen for it in ended), Counter()))
    assert ended[0].step == -(-3 * NUM_SAMPLES // 32)
    assert seen == Counter(dict.fromkeys(range(NUM_SAMPLES), 3))


def test_batch_norm_statistics_follow_rank_0_and_are_resumed(tmp_path: Path) -> None:
    values(gang(2, Case(batch_norm=True, signal=signal.SIGTERM, at=33), tmp_path))
    resumed = values(gang(2, Case(batch_norm=True), tmp_path))
    whole = values(gang(2, Case(batch_norm=True)))
    assert_equal(resumed[0], whole[0])
    for ended in (*resumed, *whole):
        assert all(torch.equal(one, other) for one, other in zip(ended.buffers, whole[0].buffers, strict=True))


@pytest.mark.slow
def test_a_run_killed_twenty_times_at_random_points_ends_as_if_nothing_had_happened(tmp_path: Path) -> None:
    points = torch.randint(1, 12, (20,), generator=torch.Generator().manual_seed(5)).tolist()
    reached = 0
    for number, ahead in enumerate(points):
        kind = (signal.SIGKILL, signal.SIGTERM)[number % 2]
        gang(2, Case(steps=200, signal=kind, at=reached + ahead, by=number % 2), tmp_path)
        reached += ahead // 2
    ended = values(gang(2, Case(steps=200), tmp_path))[0]
    assert_equal(ended, undisturbed(2, steps=200))


def relative(left: list[torch.Tensor], right: list[torch.Tensor]) -> float:
    """‖left - right‖ / ‖right‖ over all parameters."""
    square = sum((one.double() - other.double()).square().sum().item() for one, other in zip(left, right, strict=True))
    return float((square / sum(other.double().square().sum().item() for other in right)) ** 0.5)


def test_the_comparison_can_fail() -> None:
    """Another seed's noise is far above every tolerance used here."""
    one = undisturbed(1)
    other = values(gang(1, Case(extra={"seed": 8})))[0]
    assert relative(one.params, other.params) > 1e-2
    assert max(differences(one.params, other.params)) > 1e-3
