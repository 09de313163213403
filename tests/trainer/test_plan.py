"""The order of the samples depends on seed and position, and on nothing else."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ktrain_trainer.plan import Cut, Permutation, Stream


@given(n=st.integers(1, 3000), key=st.integers(0, 2**64 - 1))
@settings(max_examples=60, deadline=None)
def test_a_permutation_holds_each_sample_once(n: int, key: int) -> None:
    order = Permutation(n, key)(np.arange(n))
    assert sorted(order.tolist()) == list(range(n))


GOLDEN = (0, 3, 6, 4, 2, 8, 7, 1, 9, 5, 3, 6, 2, 8, 4, 5, 1, 0, 9, 7)


def test_the_order_never_changes_between_releases() -> None:
    """A golden order: an upgrade that changes it would repeat and drop samples of every running job."""
    assert Stream(10, seed=42, shuffle=True).take(0, 20) == GOLDEN


def test_a_permutation_spreads_neighbours_evenly() -> None:
    n, buckets = 100_000, 20
    order = Permutation(n, 7)(np.arange(n))
    table, _, _ = np.histogram2d(np.arange(n), order, bins=buckets)
    expected = n / buckets**2
    chi_square = ((table - expected) ** 2 / expected).sum()
    assert chi_square < 2 * buckets**2  # 400 cells: a fair order gives about 361 ± 27


def test_each_epoch_has_another_order() -> None:
    stream = Stream(1000, seed=1, shuffle=True)
    assert stream.take(0, 1000) != stream.take(1000, 2000)


def test_without_shuffling_the_order_is_the_datasets() -> None:
    assert Stream(3, seed=1, shuffle=False).take(1, 8) == (1, 2, 0, 1, 2, 0, 1)


@given(
    n=st.integers(1, 50),
    micro=st.integers(1, 7),
    begin=st.integers(0, 200),
    length=st.integers(1, 60),
    world_size=st.integers(1, 5),
)
@settings(max_examples=200, deadline=None)
def test_ranks_share_a_step_without_gap_or_overlap(
    n: int, micro: int, begin: int, length: int, world_size: int
) -> None:
    stream = Stream(n, seed=3, shuffle=True)
    shares = [Cut(micro, rank, world_size).mine(stream, begin, begin + length) for rank in range(world_size)]
    micros = sorted((micro_ for share in shares for micro_ in share), key=lambda micro_: micro_.index)
    assert [micro_.index for micro_ in micros] == list(range(len(micros)))
    assert sum((micro_.samples for micro_ in micros), ()) == stream.take(begin, begin + length)


@pytest.mark.parametrize("world_size", [1, 2, 3, 4, 5])
def test_a_micro_batch_is_the_same_whoever_computes_it(world_size: int) -> None:
    stream = Stream(100, seed=3, shuffle=True)
    alone = {micro.index: micro for micro in Cut(4, 0, 1).mine(stream, 32, 64)}
    for rank in range(world_size):
        for micro in Cut(4, rank, world_size).mine(stream, 32, 64):
            assert micro == alone[micro.index]


def test_rounds_count_the_busiest_rank() -> None:
    assert [Cut(8, 0, world_size).rounds(0, 32) for world_size in (1, 2, 3, 4)] == [4, 2, 2, 1]


def test_blocks_do_not_show() -> None:
    stream = Stream(40_000, seed=5, shuffle=True)
    whole = stream.take(0, 40_000)
    assert whole[16_380:16_390] == Stream(40_000, seed=5, shuffle=True).take(16_380, 16_390)
    assert len(set(whole)) == 40_000
