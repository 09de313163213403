"""Which commits stay: the newest, the best, and what is being read."""

import pytest

from ktrain.history import Commit
from ktrain_trainer.checkpoint import Retention


def commits(*metrics: float | None) -> list[Commit]:
    return [Commit(n, f"m{n}", "0" * 64, 1, 1, 1, 0.0, metric) for n, metric in enumerate(metrics, 1)]


@pytest.mark.parametrize(
    ("rule", "metrics", "kept"),
    [
        (Retention(2), (None, None, None), [2, 3]),
        (Retention(1), (0.1, 0.2, 0.3), [3]),
        (Retention(9), (None, None), [1, 2]),
        (Retention(0), (None, None), [2]),
        (Retention(1, best=1), (0.3, 0.1, 0.2, 0.4), [2, 4]),
        (Retention(1, best=2), (0.3, 0.1, 0.2, 0.4), [2, 3, 4]),
        (Retention(1, best=1, mode="max"), (0.3, 0.9, 0.2, 0.4), [2, 4]),
        (Retention(1, best=1), (0.3, 0.1, 0.1, 0.4), [2, 4]),
        (Retention(1, best=1), (0.3, None, 0.4), [1, 3]),
        (Retention(1, best=1), (float("nan"), 0.4, float("inf"), None), [2, 4]),
        (Retention(1, best=1), (0.4, 0.1), [2]),
        (Retention(1, best=3), (None, None), [2]),
    ],
)
def test_the_newest_and_the_best_stay(rule: Retention, metrics: tuple[float | None, ...], kept: list[int]) -> None:
    assert [it.step for it in rule.keep(commits(*metrics))] == kept


def test_what_is_being_read_stays() -> None:
    assert [it.step for it in Retention(1).keep(commits(None, None, None), in_use={"m1"})] == [1, 3]
