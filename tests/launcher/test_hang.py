"""When a gang that makes no step counts as hung."""

from datetime import timedelta

import pytest

from ktrain.snapshot import STEP_BUCKETS, Phase, Snapshot
from ktrain_launcher.hang import FLOOR, LONG, UNSURE, Watch


def snapshot(step: int = 0, *, rank: int = 0, phase: Phase = "train", seconds: float = 0.0, steps: int = 0) -> Snapshot:
    made = Snapshot(rank=rank, local_rank=rank, world_size=2, pid=1, phase=phase, step=step)
    made.step_seconds_sum = seconds * steps
    bucket = next((i for i, bound in enumerate(STEP_BUCKETS) if seconds <= bound), len(STEP_BUCKETS))
    made.step_counts[bucket] = steps
    return made


def test_a_rank_without_a_step_for_the_limit_is_hung() -> None:
    watch = Watch(timedelta(seconds=5))
    watch.hear(snapshot(1), now=100.0)
    watch.hear(snapshot(1), now=104.0)  # talks, but does not step
    assert watch.hung({0: snapshot(1)}, now=104.9) is None
    assert watch.hung({0: snapshot(1)}, now=105.1) == (0, timedelta(seconds=5))


def test_the_rank_that_stands_still_for_longest_is_named() -> None:
    watch = Watch(timedelta(seconds=5))
    watch.hear(snapshot(1, rank=1), now=100.0)
    watch.hear(snapshot(2, rank=0), now=101.0)
    hung = watch.hung({0: snapshot(2), 1: snapshot(1, rank=1)}, now=110.0)
    assert hung == (1, timedelta(seconds=5))


def test_a_step_starts_the_clock_again() -> None:
    watch = Watch(timedelta(seconds=5))
    watch.hear(snapshot(1), now=100.0)
    watch.hear(snapshot(2), now=104.0)
    assert watch.hung({0: snapshot(2)}, now=108.0) is None


def test_an_evaluation_is_alive_while_it_talks() -> None:
    watch = Watch(timedelta(seconds=5))
    watch.hear(snapshot(1, phase="eval"), now=100.0)
    watch.hear(snapshot(1, phase="eval"), now=1800.0)
    assert watch.hung({0: snapshot(1, phase="eval")}, now=1900.0 + LONG.total_seconds() - 200) is None


def test_nothing_is_known_of_ranks_that_say_nothing() -> None:
    watch = Watch(timedelta(seconds=5))
    assert watch.hung({}, now=1e9) is None


def test_a_new_epoch_forgets() -> None:
    watch = Watch(timedelta(seconds=5))
    watch.hear(snapshot(1), now=100.0)
    watch.reset()
    assert watch.hung({0: snapshot(1)}, now=1e9) is None


@pytest.mark.parametrize(
    ("seen", "limit"),
    [
        pytest.param(snapshot(), LONG, id="before the first step: compilation"),
        pytest.param(snapshot(3, seconds=0.1, steps=3), UNSURE, id="too few steps to know"),
        pytest.param(snapshot(50, seconds=0.1, steps=50), FLOOR, id="quick steps: the floor"),
        pytest.param(snapshot(50, seconds=9.0, steps=50), timedelta(seconds=200), id="slow steps: twenty of them"),
        pytest.param(snapshot(50, seconds=300.0, steps=50), timedelta(seconds=6000), id="steps beyond the histogram"),
        pytest.param(snapshot(50, phase="checkpoint", seconds=0.1, steps=50), LONG, id="a checkpoint takes its time"),
        pytest.param(snapshot(50, phase="data", seconds=0.1, steps=50), FLOOR, id="waiting for data is part of a step"),
        pytest.param(snapshot(0, phase="data"), LONG, id="building the dataset is not"),
    ],
)
def test_auto_knows_the_jobs_own_step_times(seen: Snapshot, limit: timedelta) -> None:
    assert Watch("auto").limit(seen) == limit
