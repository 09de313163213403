"""The reference model of failures: each is counted once, none that never was, and none that is not the job's own."""

from typing import Final

from ktrain_controller import budget, tell
from ktrain_controller.incidents import SETTLE_SECONDS
from ktrain_controller.reading import read
from tests.controller.fake_objects import Object
from tests.controller.operator import Write, state_of
from tests.controller.trace.hanging import mark_of
from tests.controller.trace.truth import Charge, Truth
from tests.controller.trace.world import World, has_failed

ALONE_SECONDS: Final = (
    150  # other ends are farther away than what counts as one incident, and are heard of up to 70 s late
)
BEFORE_SECONDS: Final = 200  # a pod that went explains echoes, and may have taken long to go
AFTER_SECONDS: Final = SETTLE_SECONDS + 140  # it may go, and be heard of, after the echo
DEATH_SECONDS: Final = 100  # from the death of a node until it is given up
REMEMBERED_SECONDS: Final = 200
UNSETTLED_SECONDS: Final = 1000  # after a clock was set back, what was before is still to come


class Counting:
    """Of all jobs of a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._met: set[str] = set()  # uids of pods that a controller saw
        self._heard: set[str] = set()  # and of those that it saw to have failed

    def look(self) -> None:
        """What the controller knows by now."""
        self._met |= self._world.brain.met
        self._heard |= self._world.brain.heard

    def check(self, write: Write, name: str, truth: Truth) -> None:
        """A job was written."""
        state, new = write.state, write.attempt - truth.attempt
        assert new in {0, 1}, f"{name}: attempt {truth.attempt} became {write.attempt}"
        assert state.decisions != truth.state.decisions or write.sub == "status", f"{name}: no decision for {write}"
        self._check_charges(name, truth, {mark_of(it) for it in state.incidents if it.is_charged})
        if new and state.decisions[-1].reason == "NodeLost":
            assert state.intent
            # When the clock is set, pods that were told to go seem to be stuck.
            places = {self._world.operator.places[it] for it in set(state.intent.uids) - self._world.operator.told}
            assert places <= self._world.broken, f"{name}: {state.intent}"
            self._lose(name, truth)
        elif new:
            fewest = {"PodFailed": 2, "Hang": 1}[state.decisions[-1].reason]
            assert len([it for it in state.incidents if it.is_charged]) >= fewest, f"{name}: {state}"
        if new:
            truth.ends.append(self._world.clock.now)

    def _lose(self, name: str, truth: Truth) -> None:
        """A node was given up: what its loss had ended before has to be free."""
        now = self._world.clock.now
        truth.lost.append(now)
        paid = {mark for mark, at in truth.orphans.items() if now - at < DEATH_SECONDS} & truth.counted
        is_calm = all(trouble < now - UNSETTLED_SECONDS for trouble in self._world.troubles)
        assert not (paid and is_calm), f"{name} paid for the death of a node: {paid} {truth}"

    def _check_charges(self, name: str, truth: Truth, charged: set[str]) -> None:
        known = {mark_of(it) for it in truth.state.incidents if it.is_charged}
        assert not (charged - known) & truth.counted, f"{name}: counted twice: {(charged - known) & truth.counted}"
        wrong = {mark for mark in charged - known if not self._is_owed(mark, truth)}
        assert not wrong, f"{name} has not to answer for {wrong}: {truth}"
        truth.counted |= charged

    def _is_owed(self, mark: str, truth: Truth) -> bool:
        """Whether the job has to answer for it; a node that came back in time explains nothing, nor who was never seen."""
        orphaned = truth.orphans.get(mark)
        return (
            mark in truth.charges
            or mark in truth.hangs
            or not self._world.gangs.get(mark, set()) <= self._met
            or (orphaned is not None and not any(at >= orphaned for at in truth.lost))
        )

    def check_all_is_known(self) -> None:
        """Some time after the last fault: every failure that has to be counted was, and everything was told."""
        for name, truth in self._world.truths.items():
            assert not self._untold(name), f"{name}: {self._untold(name)} of {truth.state.decisions}"
            missing = {mark for mark, charge in truth.charges.items() if self._is_plain(charge, truth)} - truth.counted
            assert not missing, f"{name}: {missing} were not counted: {truth}"

    def check_end(self, job: Object) -> None:
        """Long after the last fault: it runs, or was given up for a reason."""
        name, state = job["metadata"]["name"], state_of(job)
        truth = self._world.truths[name]
        policy = read(next(it for it in self._world.brain.watches.jobs.store.all() if it.name == name)).policy
        assert policy
        if not has_failed(job):
            phases = [it["status"]["phase"] for it in self._world.api.pods(name)]
            assert phases == ["Running"] * 2, f"{name}: {phases} {state}"
            assert not budget.is_spent(state.incidents, policy.restart, self._world.clock.wall()), f"{name}: {state}"
        assert not (truth.is_calm and has_failed(job)), f"{name} has done nothing, and was given up: {truth}"

    def _is_plain(self, charge: Charge, truth: Truth) -> bool:
        """A failure that nothing else could explain, and that the controller has seen: it has to be counted."""
        now, troubles = charge.at, self._world.troubles
        before = BEFORE_SECONDS if charge.is_echo else ALONE_SECONDS
        after = AFTER_SECONDS if charge.is_echo else ALONE_SECONDS
        is_alone = sum(-before <= other - now <= after for other in truth.ends) == 1
        is_calm = not any(now - UNSETTLED_SECONDS < trouble < now + REMEMBERED_SECONDS for trouble in troubles)
        return charge.uid in self._heard and is_alone and is_calm and not charge.is_paused

    def _untold(self, name: str) -> set[str]:
        (job,) = (it for it in self._world.brain.watches.jobs.store.all() if it.name == name)
        told = {it["metadata"]["name"] for it in self._world.api.all("events")}
        late = self._world.clock.wall() - 500
        return {tell.event_name(job, it) for it in read(job).state.decisions if it.at > late} - told
