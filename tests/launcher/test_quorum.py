"""When a round begins, case by case."""

import pytest

from ktrain_launcher.quorum import FIRST_SECONDS, SETTLE_SECONDS, Quorum, delay

FIXED = Quorum(3, 3, 3)
ELASTIC = Quorum(2, 4, 3)


@pytest.mark.parametrize(
    ("quorum", "entered", "here", "quiet", "is_first", "met"),
    [
        (FIXED, 3, 3, 0.0, True, True),
        (FIXED, 2, 2, 9999.0, False, False),
        (FIXED, 2, 3, 9999.0, True, False),
        (ELASTIC, 4, 4, 0.0, False, True),
        (ELASTIC, 1, 1, 9999.0, False, False),
        (ELASTIC, 3, 3, 0.0, True, True),
        (ELASTIC, 3, 4, 0.0, True, False),
        (ELASTIC, 2, 2, FIRST_SECONDS - 1, True, False),
        (ELASTIC, 2, 2, FIRST_SECONDS, True, True),
        (ELASTIC, 2, 2, SETTLE_SECONDS / 2, False, False),
        (ELASTIC, 2, 2, SETTLE_SECONDS, False, True),
        (ELASTIC, 3, 3, 0.0, False, False),
        (ELASTIC, 2, 3, FIRST_SECONDS - 1, False, False),
        (ELASTIC, 2, 3, FIRST_SECONDS, False, True),
    ],
    ids=["all", "one has died", "one comes", "as many as may be", "too few", "as many as were expected", "one more is here",
         "others may come", "others do not come", "just lost one", "lost one", "others may still enter", "one ends its ranks", "one is stuck"],
)  # fmt: skip
def test_when_a_round_begins(quorum: Quorum, entered: int, here: int, quiet: float, is_first: bool, met: bool) -> None:
    found = quorum.is_met(frozenset(range(entered)), frozenset(range(here)), quiet=quiet, is_first=is_first)
    assert found is met


def test_one_that_keeps_dying_waits_longer_but_not_for_ever() -> None:
    assert [delay(deaths) for deaths in (0, 1, 2, 5, 6, 1000)] == [1, 2, 4, 32, 60, 60]
