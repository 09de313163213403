"""A job's state in one word."""

from typing import Any

import pytest

from ktrain.jobs.cancel import REASON
from ktrain.jobs.decided import decided, without_pause
from ktrain.names import ANNOTATION_STATE
from ktrain.status.word import reason, word
from ktrain_controller.state import Past, Release, State, read_state


def job(*conditions: tuple[str, str], suspend: bool = False, reason: str = "") -> dict[str, Any]:
    made = [{"type": name, "status": status, "reason": reason} for name, status in conditions]
    return {"metadata": {}, "spec": {"runPolicy": {"suspend": suspend}}, "status": {"conditions": made}}


def paused(state: str) -> dict[str, Any]:
    return job(("Suspended", "True"), suspend=True) | {"metadata": {"annotations": {ANNOTATION_STATE: state}}}


PAUSE = State(release=Release(1e9, "StartTimeout"), decisions=(Past(1.0, "start", "StartTimeout", "no GPU"),)).encode()


@pytest.mark.parametrize(
    ("made", "told"),
    [
        (job(), "created"),
        (job(("Created", "True"), ("Running", "True")), "running"),
        (job(("Created", "True"), ("Running", "False"), ("Restarting", "True")), "restarting"),
        (job(("Created", "True"), ("Running", "False"), ("Suspended", "True"), suspend=True), "suspended"),
        (job(("Running", "True"), suspend=True), "suspended"),
        (job(("Running", "False"), ("Succeeded", "True"), suspend=True), "succeeded"),
        (paused(PAUSE), "paused"),
        (paused("{garbled"), "suspended"),
        (job(("Failed", "True")), "failed"),
        (job(("Failed", "True"), reason=REASON), "cancelled"),
    ],
    ids=[
        "new",
        "running",
        "restarting",
        "suspended",
        "being-suspended",
        "succeeded",
        "paused",
        "garbled",
        "failed",
        "cancelled",
    ],
)
def test_the_word_is_that_of_the_newest_that_holds(made: dict[str, Any], told: str) -> None:
    assert word(made) == told


def test_a_paused_job_says_why() -> None:
    assert reason(paused(PAUSE)) == "StartTimeout: no GPU"
    assert decided(paused(PAUSE)).paused_until == 1e9


@pytest.mark.parametrize("text", ["", "[]", "7", '{"release": 5, "decisions": {}}', '{"decisions": [1]}', "[" * 9999])
def test_whatever_is_written_there_is_no_error(text: str) -> None:
    assert decided(paused(text)).paused_until is None
    assert reason(paused(text)) == ""


def test_a_pause_that_is_the_users_keeps_the_rest_of_the_state() -> None:
    before = paused(PAUSE)
    before["metadata"] |= {"uid": "u", "resourceVersion": "7"}
    patch = without_pause(before)
    after = read_state(patch["annotations"][ANNOTATION_STATE])
    assert (after.release, after.decisions) == (None, read_state(PAUSE).decisions)
    assert (patch["uid"], patch["resourceVersion"]) == ("u", "7")
