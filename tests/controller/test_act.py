"""What an action finds out about the observation that it was decided by."""

from pathlib import Path

import pytest

from ktrain.errors import TakenError
from ktrain.request import Ask
from ktrain_controller.act import Actor
from ktrain_controller.decision import Decision, Request
from ktrain_controller.state import State
from tests.controller.fake_objects import Object
from tests.controller.operator import Ledger
from tests.controller.seen import NOW, job, pod, seen

STALLED = Decision(
    "hang", "Stalled", "x", Request(Ask.STACKS, (("demo-worker-0", "pod-0"),)), State(asked={"stacks": NOW})
)


ME = {"namespace": "research", "name": "demo-worker-0", "uid": "pod-0"}
UP = {"phase": "Running"}


@pytest.mark.parametrize(
    "pods",
    [
        [],
        [{"metadata": {**ME, "uid": "successor"}, "status": UP}],
        [{"metadata": ME, "status": {"phase": "Failed"}}],
        [{"metadata": {**ME, "deletionTimestamp": "2026-01-01T00:00:00Z"}, "status": UP}],
    ],
    ids=["gone", "replaced", "ended", "told to go"],
)
def test_a_question_to_a_pod_that_has_gone_is_of_an_old_observation(pods: list[Object], tmp_path: Path) -> None:
    """A cache that is behind shows pods whose launchers are silent because they are no more: their gang does not hang."""
    with Ledger() as api:
        api.put("pytorchjobs", {"metadata": {"namespace": "research", "name": "demo", "uid": "job-1"}})
        api.load("pods", pods)
        actor = Actor(api.connect(tmp_path), lambda: True, lambda: None)
        with pytest.raises(TakenError):
            actor.act(STALLED, seen(job=job(version=str(api.objects.version)), pods=(pod(0),)))
        assert api.count("PATCH", path="/pytorchjobs/") == 0
