"""A job's state in one word."""

from typing import Any

import pytest

from ktrain.jobs.cancel import REASON
from ktrain.status.word import word


def job(*conditions: tuple[str, str], suspend: bool = False, reason: str = "") -> dict[str, Any]:
    made = [{"type": name, "status": status, "reason": reason} for name, status in conditions]
    return {"spec": {"runPolicy": {"suspend": suspend}}, "status": {"conditions": made}}


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (job(), "created"),
        (job(("Created", "True"), ("Running", "True")), "running"),
        (job(("Created", "True"), ("Running", "False"), ("Restarting", "True")), "restarting"),
        (job(("Created", "True"), ("Running", "False"), ("Suspended", "True"), suspend=True), "suspended"),
        (job(("Running", "True"), suspend=True), "suspended"),
        (job(("Running", "False"), ("Succeeded", "True"), suspend=True), "succeeded"),
        (job(("Failed", "True")), "failed"),
        (job(("Failed", "True"), reason=REASON), "cancelled"),
    ],
    ids=["new", "running", "restarting", "suspended", "being-suspended", "succeeded", "failed", "cancelled"],
)
def test_the_word_is_that_of_the_newest_that_holds(made: dict[str, Any], told: str) -> None:
    assert word(made) == told
