"""A trace: step by step something goes wrong, the controller acts, and what it wrote is compared with the models."""

from collections.abc import Sequence
from contextlib import nullcontext
from typing import Final

from tests.controller.operator import Write
from tests.controller.trace.counting import Counting
from tests.controller.trace.faults import FAULTS, OF_THE_SERVER, Fault, mend_all
from tests.controller.trace.hanging import Hanging
from tests.controller.trace.noticing import Noticing
from tests.controller.trace.world import World

STEP_SECONDS: Final = (0.2, 1, 1, 3, 3, 10, 70)
BOOKMARK_SECONDS: Final = 60
CALM_STEPS: Final = 15
MAX_REQUESTS: Final = 60  # in one step


class Trace:
    """Of one world."""

    def __init__(self, world: World) -> None:
        self.world = world
        self._counting, self._noticing, self._hanging = Counting(world), Noticing(world), Hanging(world)
        self._bookmark_due = 0.0
        self._checked = 0  # writes
        self._steps = 0
        self._calm = 0  # steps without a fault that are to come

    def step(self) -> None:
        """Time goes on; perhaps something happens; the controller acts on what it knows, then on what it hears."""
        world, before = self.world, len(self.world.api.requests)
        self._steps += 1
        world.chance = world.draw(f"step {self._steps}")
        self._pass_time(world.chance.choice(STEP_SECONDS))
        is_late = world.chance.random() < 0.2  # the watches: everything below is decided by what was
        fault = self._choose()
        with world.api.together() if is_late else nullcontext():
            if fault:
                fault(world)
            world.turns.go_some()
            world.operator.step()
            world.turns.go_some()
            world.launchers.step()
            world.brain.lead()
            world.brain.work()
        self._calm_down(is_calm=not is_late and fault not in OF_THE_SERVER)
        assert len(world.api.requests) - before < MAX_REQUESTS, world.api.requests[before:]
        world.replace_ended()

    def _choose(self) -> Fault | None:
        """Now and then nothing happens for a while: what takes minutes must have its time."""
        chance = self.world.chance
        self._calm = max(self._calm - 1, CALM_STEPS if chance.random() < 0.04 else 0)
        return chance.choice(FAULTS) if self._calm == 0 and chance.random() < 0.7 else None

    def finish(self) -> None:
        """The faults stop: everything comes right, and everything that has to be known is known."""
        mend_all(self.world)
        self._go_on([5] * 20 + [20] * 10)
        self._counting.check_all_is_known()
        self._go_on([60] * 40)  # a pause that began before the clock was set back takes longer
        assert self.world.brain.eyes.are_in_step
        for job in self.world.api.all("pytorchjobs"):
            self._counting.check_end(job)

    def _go_on(self, waits: Sequence[float]) -> None:
        for seconds in waits:
            self._pass_time(seconds)
            self.world.operator.step()
            self.world.launchers.step()
            self.world.brain.lead()
            self._calm_down(is_calm=True)

    def _pass_time(self, seconds: float) -> None:
        """Piece by piece: a server sends bookmarks every minute."""
        world, end = self.world, self.world.clock.now + seconds
        while (left := end - world.clock.now) > 0:
            is_due = self._bookmark_due - world.clock.now <= left
            world.clock.advance(max(0, self._bookmark_due - world.clock.now) if is_due else left)
            world.brain.eyes.tire()
            world.brain.eyes.settle()
            if is_due:
                world.brain.eyes.take_bookmarks()
                self._bookmark_due = world.clock.now + BOOKMARK_SECONDS
        world.brain.reset()

    def _calm_down(self, *, is_calm: bool) -> None:
        self.world.brain.calm_down()
        self._counting.look()
        self._noticing.look()
        writes = self.world.api.writes
        while self._checked < len(writes):
            self._check(writes[self._checked])
            self._checked += 1
        self._hanging.look(is_calm=is_calm)

    def _check(self, write: Write) -> None:
        name = write.job["metadata"]["name"] if write.job else ""
        if write.plural == "pods" and write.method == "DELETE":
            intent = write.state.intent
            assert intent, f"pod {write.name} was deleted, and nobody had decided it"
            assert write.uid in intent.uids, f"pod {write.name} was deleted, and the decision is about {intent}"
            self.world.operator.told.add(write.uid)
            self._echo(write, name)
        if write.plural == "pytorchjobs" and name in self.world.truths:
            truth = self.world.truths[name]
            self._hanging.check(write, name, truth)
            self._counting.check(write, name, truth)
            truth.state, truth.attempt = write.state, write.attempt

    def _echo(self, write: Write, name: str) -> None:
        """Who is left of a gang that the controller takes a pod from may lose its peers by that."""
        left = [it for it in self.world.up(name) if it["metadata"]["uid"] != write.uid]
        self.world.break_down([(pod, 200) for pod in left if self.world.chance.random() < 0.3])


def digest(seed: int, steps: int) -> str:
    """Of all that its controller asked the API server."""
    world = World(seed)
    world.open()
    trace = Trace(world)
    for _ in range(steps):
        trace.step()
    world.close()
    return world.api.digest
