"""How many failures, and how long between them."""

from datetime import timedelta

from ktrain.spec.platform import Restart
from ktrain_launcher.budget import Budget

FULL = Budget.of(Restart.model_validate({"inPlace": 2, "backoff": {"base": "2s", "cap": "5s"}}))


def test_failures_spend_the_budget_and_a_newer_commit_refills_it() -> None:
    spent = FULL.after_failure().after_failure()
    assert spent.left == 0
    assert spent.after_commit(10).left == 2


def test_the_commit_that_was_restored_is_no_progress() -> None:
    budget = FULL.after_commit(10).after_failure()
    assert budget.after_commit(10).left == 1


def test_the_first_retry_is_at_once_and_the_next_ones_wait_longer_up_to_the_cap() -> None:
    budget, pauses = FULL, []
    for _ in range(5):
        budget = budget.after_failure()
        pauses.append(budget.pause / timedelta(seconds=1))
    assert pauses == [0, 2, 4, 5, 5]
