"""A job on a cluster under faults, as its people or its nodes cause them: what is struck, and how it comes back."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from ktrain.chaos import judge
from ktrain.chaos.game import Game
from ktrain.chaos.judge import Recovery
from ktrain.chaos.look import Look, look, recovery, trains_again
from ktrain.chaos.trace import Fault, Kind, Struck
from ktrain.cluster import POD, Cluster
from ktrain.errors import ClusterError, ForbiddenError, MissingError, NoKindError
from ktrain.jobs.page import page
from ktrain.local.verdict import Verdict
from ktrain.units import counted

Object = dict[str, Any]
LOOK_EVERY: Final = 0.25  # seconds

_KILL: Final = "import os, sys; os.kill(int(sys.argv[1]), 9)"
# The rest in a process of its own: whoever asked has its answer, and the connection ends.
_APART: Final = """
if os.fork():
    os._exit(0)
os.setsid()
for it in range(3):
    os.close(it)
"""
# The image may have no shell and no ps. Whoever init has started is the launcher; its end takes ours along, so we go first.
_KILL_LAUNCHER: Final = f"""
import os, pathlib, time
def is_it(at):
    parent = at.joinpath("stat").read_text().rpartition(")")[2].split()[1]
    return parent == "1" and b"ktrain_launcher" in at.joinpath("cmdline").read_bytes()
pid, = (int(it.name) for it in pathlib.Path("/proc").glob("[0-9]*") if is_it(it))
{_APART}
time.sleep(0.1)
os.kill(pid, 9)
"""
_FREEZE: Final = f"""
import os, sys, time
pid, seconds = int(sys.argv[1]), float(sys.argv[2])
os.kill(pid, 19)
{_APART}
time.sleep(seconds)
os.kill(pid, 18)
"""


class OverError(Exception):
    """The job has ended, or does not come back: the sentence is the verdict."""


@dataclass
class Siege:
    """Strikes one job, fault by fault: the next one when it trains again after the last."""

    cluster: Cluster
    namespace: str
    name: str
    tell: Callable[[str], object]
    patience: float  # seconds until the job has to train again
    memory_every: int | None = None  # steps, as in its spec
    struck: list[Struck] = field(default_factory=list)
    recoveries: list[Recovery] = field(default_factory=list)
    restored: list[tuple[int, int]] = field(default_factory=list)  # committed at a fault, restored after it
    _refusal: str = ""  # the newest, told once

    def play(self, faults: Sequence[Fault]) -> Game:
        """All of them, and what is to be said."""
        try:
            self.tell(f"waiting for a step of job {self.name}")
            begun = self._wait(lambda now: now.step_at > 0, "it has made no step")[-1].at
            for fault in faults:
                self._one(fault, begun + fault.at)
        except OverError as error:
            return self._judged(Verdict("goes on", ok=False, told=str(error)))
        told = f"it trained again after each of {counted(len(faults), 'fault')}"
        return self._judged(Verdict("goes on", ok=True, told=told))

    def _one(self, fault: Fault, due: float) -> None:
        before, at, whom = self._aim(fault, due)
        struck = Struck(fault, at, whom, before.first["step"], before.first.get("checkpoint_step"))
        self.struck.append(struck)
        self.tell(f"fault {len(self.struck)}: {fault.kind}, {whom}, after step {struck.step}")
        looks = self._wait(
            lambda now: trains_again(now, before, struck), f"after {fault.kind} of {whom} it has made no step"
        )
        self.recoveries.append(found := recovery(struck, before, looks))
        if looks[-1].epoch > before.epoch:
            self.restored.append((int(struck.committed or 0), int(looks[-1].first.get("restored_step", 0))))
        parts = ", ".join(f"{name} {seconds:.1f}" for name, seconds in found.parts)
        self.tell(f"  trains again after {found.seconds:.1f} s ({parts}), {counted(found.lost or 0, 'step')} lost")

    def _aim(self, fault: Fault, due: float) -> tuple[Look, float, str]:
        """Strikes when it is time and somebody is there: what was seen before, when it was, and whom."""
        idle = max(0.0, due - time.time())
        until = time.monotonic() + idle + self.patience
        while True:
            looks = self._wait(lambda now: now.at >= due and bool(now.first), "nobody could be struck", until=until)
            at = time.time()
            if whom := self._strike(fault, looks[-1]):
                return looks[-1], at, whom

    def _wait(self, is_it: Callable[[Look], bool], else_: str, *, until: float | None = None) -> list[Look]:
        """Looks until one is; OverError when the job has ended, or it lasts too long."""
        looks: list[Look] = []
        until = until or time.monotonic() + self.patience
        while True:
            if (now := self._look()) is not None:
                looks.append(now)
                if now.end:
                    raise OverError(f"the job has ended meanwhile: {now.end}")
                if is_it(now):
                    return looks
            if time.monotonic() > until:
                raise OverError(
                    f"{else_} for {self.patience:.0f} s; `ktrain status {self.name} -n {self.namespace}` says why"
                )
            time.sleep(LOOK_EVERY)

    def _look(self) -> Look | None:
        try:
            return look(self.cluster, self.namespace, self.name)
        except (ForbiddenError, MissingError, NoKindError):
            raise
        except ClusterError:  # an API server that does not answer for a moment is part of the game
            return None

    def _strike(self, fault: Fault, before: Look) -> str:
        """Whom it has struck; empty when nobody can be now."""
        pods = before.running
        if not pods:
            return ""
        pod = pods[int(fault.draw * len(pods))]
        try:
            return self._act(fault, pod)
        except ForbiddenError:
            raise
        except ClusterError as error:  # it is going already, or must not go now: another moment
            if str(error) != self._refusal:
                self.tell(f"  {error}")
            self._refusal = str(error)
            return ""

    def _act(self, fault: Fault, pod: Object) -> str:
        me = pod["metadata"]
        match fault.kind:
            case Kind.PREEMPT:
                self.cluster.evict(pod)
            case Kind.POD_LOSS:
                self.cluster.delete(POD, self.namespace, me["name"], uid=me["uid"], grace=0)
            case Kind.POD_KILL:
                self._run(pod, _KILL_LAUNCHER)
            case _:
                return self._act_on_rank(fault, pod)
        return f"pod {me['name']}"

    def _act_on_rank(self, fault: Fault, pod: Object) -> str:
        ranks = [it for it in page(self.cluster, pod).get("ranks", ()) if it.get("alive")]
        if not ranks:
            return ""
        rank = ranks[int(fault.draw * 1000) % len(ranks)]
        if fault.kind is Kind.RANK_KILL:
            self._run(pod, _KILL, str(rank["pid"]))
            return f"rank {rank['rank']}"
        self._run(pod, _FREEZE, str(rank["pid"]), str(fault.seconds))
        return f"rank {rank['rank']} for {fault.seconds:.1f} s"

    def _run(self, pod: Object, code: str, *args: str) -> None:
        self.cluster.execute(pod, ["python3", "-I", "-S", "-c", code, *args])

    def _judged(self, goes_on: Verdict) -> Game:
        resumes = judge.resumes(self.restored, restarts=len(self.restored))
        verdicts = (
            goes_on,
            resumes if self.restored else replace(resumes, ok=None),
            judge.loses(self.recoveries, memory_every=self.memory_every),
            judge.recovers(self.recoveries),
        )
        return Game.judged(verdicts, self.struck, self.recoveries)
