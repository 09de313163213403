"""How many failures a pod may have."""

from ktrain_launcher.budget import Budget

FULL = Budget(2)


def test_failures_spend_the_budget_and_a_newer_commit_refills_it() -> None:
    spent = FULL.after_failure().after_failure()
    assert spent.left == 0
    assert spent.after_commit(10).left == 2


def test_the_commit_that_was_restored_is_no_progress() -> None:
    budget = FULL.after_commit(10).after_failure()
    assert budget.after_commit(10).left == 1
