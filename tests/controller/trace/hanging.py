"""The reference model of hangs: when exactly one restart of a gang is due, and when none."""

from dataclasses import dataclass
from typing import Final

from ktrain_controller.scrape import INTERVAL, LONGEST_RETRY
from ktrain_controller.state import Incident
from tests.controller.operator import NAMESPACE, Write
from tests.controller.trace.launchers import HANG_LIMIT, Run, Trouble
from tests.controller.trace.truth import Truth
from tests.controller.trace.world import World

SILENT_SECONDS: Final = 90.0
STUCK_SECONDS: Final = HANG_LIMIT + 60
STACKS_SECONDS: Final = 10.0
BLIND_SECONDS: Final = 30.0  # until all have been asked since the network went
SIGHT_SECONDS: Final = LONGEST_RETRY + INTERVAL + 5  # until all have been asked since it came back
PATIENCE: Final = 20.0  # for a conflict, or what comes first
ROUNDING: Final = 2.0  # the API's times are whole seconds


@dataclass(slots=True)
class Due:
    """What has to follow from a trouble: seconds until each next thing, and whether the controller has to be able to act."""

    trouble: Trouble
    gang: frozenset[str]
    at: float
    waits: list[tuple[float, bool]]


class Hanging:
    """Of all jobs of a world."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._brain = world.brain
        self._due: dict[str, Due] = {}
        self._stalled: dict[str, float] = {}  # when a job's ranks were asked last where they stand
        self._restarted: list[Trouble] = []
        self._known: dict[
            str, frozenset[str]
        ] = {}  # uids of a job's gang, as the controller knew it after the last step

    # -- never more than that ------------------------------------------------------------------------------------------
    def check(self, write: Write, name: str, truth: Truth) -> None:
        """A job was written."""
        new = [it for it in write.state.decisions if it not in truth.state.decisions]
        if any(it.reason == "Stalled" for it in new):
            self._stalled[name] = self._world.clock.now
        for incident in set(write.state.incidents) - set(truth.state.incidents):
            if is_hang(incident) and incident.is_charged:
                self._check_restart(name, incident, truth)

    def _check_restart(self, name: str, incident: Incident, truth: Truth) -> None:
        run, now, told = self._world.launchers.runs[name], self._world.clock.now, f"{name}: {incident}"
        stalled, trouble = self._stalled.get(name, now), run.trouble
        was_set = self._world.clock.is_behind or self._world.clock.set_at >= stalled
        is_early = now - stalled < STACKS_SECONDS - ROUNDING and not was_set
        assert not is_early, f"{told}: nobody was asked for stacks in time"
        assert trouble, f"{told}: nothing was wrong"
        assert trouble.until > stalled, f"{told}: all was well again since {stalled - trouble.until:g} s: {run}"
        assert trouble not in self._restarted, f"{told}: it was restarted before: {run}"
        assert not self._is_blind, f"{told}: no launcher can be heard"
        stood = now - (trouble.since if trouble.how == "stuck" else self._silent_since(name, run))
        least = (STUCK_SECONDS if trouble.how == "stuck" else SILENT_SECONDS) + STACKS_SECONDS - ROUNDING
        assert stood >= least, f"{told}: only for {stood:g} s: {run}"
        self._restarted.append(trouble)
        truth.hangs.add(mark_of(incident))

    def _silent_since(self, name: str, run: Run) -> float:
        """What became known at this very moment, or not yet, may have come too late for what was decided."""
        now, is_known = self._world.clock.now, run.gang == self._known.get(name)
        return max(run.formed if is_known else 0, run.heard_at if run.heard_at < now else run.heard_before)

    @property
    def _is_blind(self) -> bool:
        launchers = self._world.launchers
        return launchers.is_cut_off and self._world.clock.now - launchers.cut_at > BLIND_SECONDS

    # -- and never less ------------------------------------------------------------------------------------------------
    def look(self, *, is_calm: bool) -> None:
        """Whenever nothing is under way; calm: nothing kept the controller from acting."""
        if self._brain is not self._world.brain or self._world.clock.is_behind:
            self._brain = self._world.brain
            self._due.clear()
        for name, run in self._world.launchers.runs.items():
            pods = self._brain.watches.pods.store.of(f"{NAMESPACE}/{name}")
            self._known[name] = frozenset(it.uid for it in pods if it.is_up)
            due = self._due.get(name)
            if not (run.trouble and self._counts(name, run)):
                self._due.pop(name, None)
            elif due is None or due.trouble is not run.trouble or due.gang != run.gang:
                self._due[name] = Due(run.trouble, run.gang, self._world.clock.now, _waits(run.trouble))
            else:
                self._advance(name, due, is_able=is_calm and self._world.is_able and not self._may_be_blind)

    def _counts(self, name: str, run: Run) -> bool:
        """Whether the controller sees a whole gang, on nodes that are well, that is in trouble, and is to go on.

        When the clock was set back since it formed, its last step seems to be older than its pods: as in a gang that
        has made none yet, which is given its time.
        """
        assert run.trouble
        job = self._world.api.job(name)
        size = job["spec"]["pytorchReplicaSpecs"]["Worker"]["replicas"]
        up = [it["metadata"]["uid"] for it in self._world.up(name)]
        is_whole = len(up) == size == len(run.gang) and not job["spec"]["runPolicy"]["suspend"]
        is_dated = run.trouble.how != "stuck" or run.formed > self._world.clock.set_back_at
        # One that fell silent when it was the first of a gang that was not whole is not asked any more.
        return is_whole and is_dated and up[0] in run.trouble.pods and self._world.launchers.is_in_trouble(name)

    def _advance(self, name: str, due: Due, *, is_able: bool) -> None:
        now, (seconds, must_act) = self._world.clock.now, due.waits[0]
        if not is_able and (len(due.waits) == 1 or not must_act):
            due.at = now
        if now < due.at + seconds or (must_act and not is_able):
            return
        due.at = now
        del due.waits[0]
        assert due.waits, f"{name}: its gang was not restarted: {due.trouble} {self._world.api.job(name)}"

    @property
    def _may_be_blind(self) -> bool:
        """Jobs that fell silent by themselves look like a network that broke, when they are many."""
        now, launchers = self._world.clock.now, self._world.launchers
        troubles = [run.trouble for run in launchers.runs.values() if run.trouble and run.trouble.how != "stuck"]
        return now - launchers.whole_at < SIGHT_SECONDS or sum(now - it.until < SIGHT_SECONDS for it in troubles) > 1


def is_hang(incident: Incident) -> bool:
    """Whether no container has ended."""
    return incident.what.startswith(("its launcher has not answered", "no step for"))


def mark_of(incident: Incident) -> str:
    """What the container left that it tells of: two failures can have the same second when a clock was set."""
    return f"hang at {incident.at}" if is_hang(incident) else incident.what.rpartition(": ")[2]


def _waits(trouble: Trouble) -> list[tuple[float, bool]]:
    acts = [(STACKS_SECONDS, True), (PATIENCE, True)]
    if trouble.how == "stuck":
        return [(STUCK_SECONDS + SIGHT_SECONDS, True), *acts]
    return [(INTERVAL, False), (SILENT_SECONDS, True), *acts]
