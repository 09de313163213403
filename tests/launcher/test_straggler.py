"""A rank that really is slow, measured by its trainer, told by its launcher, named by the controller."""

from pathlib import Path
from typing import Any

import pytest

from ktrain.spec import Trainer
from ktrain_controller import pace
from ktrain_controller.beat import Beat, read_beat
from ktrain_controller.decide import decide
from ktrain_controller.decision import Decision
from ktrain_controller.observation import Limits
from tests.controller.seen import seen
from tests.launcher.gang import Gang, gang, until

pytestmark = pytest.mark.slow
SECONDS = 4.0


class Looker:
    """What a controller would decide, of what node 0's launcher says."""

    def __init__(self, job: Gang) -> None:
        self._job = job
        self.beat: Beat | None = None
        self.earlier: Beat | None = None

    def look(self) -> Decision | None:
        """As of now."""
        page = self._job.nodes[0].status()
        beat = read_beat(page, page["now"])
        self.earlier = pace.earlier(self.earlier, self.beat, beat, SECONDS)
        self.beat = beat
        limits = Limits(straggler=SECONDS)
        return decide(seen(now=beat.heard_at, beat=beat, earlier=self.earlier, limits=limits)).decision


def spec(what: str) -> dict[str, Any]:
    """The trainer's own loop; the model, or the data, takes long on rank 1."""
    trainer = {
        "duration": "1000000step",
        "model": {"use": "drags:Net", "args": {"is_slow": what == "work"}},
        "data": {"train": {"use": "drags:Rows", "args": {"is_slow": what == "data"}}},
        "task": {"loss": {"use": "mse"}},
        "batch": {"global": 2, "micro": 1},
        "optim": {"lr": 0.001},
    }
    return {"script": None, "trainer": Trainer.model_validate(trainer).model_dump(mode="json", by_alias=True)}


@pytest.mark.parametrize("what", ["work", "data"])
def test_the_rank_that_is_slow_is_named_and_not_the_one_that_waits(tmp_path: Path, what: str) -> None:
    with gang(tmp_path, "", num_nodes=2, spec=spec(what)) as job:
        looker = Looker(job)
        until(lambda: looker.look() or looker.earlier)  # all ranks run, and are warm
        found = until(looker.look)
        other = job.nodes[1].status()["pace"]
    assert looker.beat is not None
    waits = [it.peer_wait_seconds / it.step_seconds for it in looker.beat.pace]
    assert waits[0] > 0.5 > waits[1]
    assert other == []
    assert (found.policy, found.reason) == ("straggler", "Straggler")
    assert found.message.startswith("rank 1 (pod demo-worker-1, node node-1) makes the others wait: busy for 0.0")
    assert ("of it waits for data" in found.message) == (what == "data")
