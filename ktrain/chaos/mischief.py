"""Faults against the launchers of `ktrain run`: each at its time, as soon as there is somebody to strike."""

import os
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from ktrain.chaos.trace import Fault, Kind, Struck
from ktrain.local.run import Runner
from ktrain.picture import Picture

SLOW_SECONDS: Final = 1.0


@dataclass
class Mischief:
    """Attends to a runner, between its looks."""

    faults: Sequence[Fault]
    plan: Path  # what unsteady storage reads
    tell: Callable[[str], object]
    clock: Callable[[], float] = time.time
    struck: list[Struck] = field(default_factory=list)
    _begun: float | None = None
    _thaws: dict[int, float] = field(default_factory=dict)  # process → when it goes on

    def attend(self, runner: Runner, picture: Picture) -> None:
        """One look; strikes whatever is due."""
        now = self.clock()
        self._thaw(now)
        if self._begun is None and picture.first.get("step", 0) > 0:
            self._begun = now
        if self._begun is None or len(self.struck) == len(self.faults):
            return
        fault = self.faults[len(self.struck)]
        if now - self._begun < fault.at:
            return
        if whom := self._strike(fault, runner, picture, now):
            first = picture.first
            self.struck.append(Struck(fault, now, whom, first.get("step"), first.get("checkpoint_step")))
            self.tell(f"fault {len(self.struck)} of {len(self.faults)}: {fault.kind}, {whom}")

    def _strike(self, fault: Fault, runner: Runner, picture: Picture, now: float) -> str:
        """Whom it has struck; empty when nobody is there yet."""
        if fault.kind in {Kind.OUTAGE, Kind.SLOW}:
            kind = "outage" if fault.kind is Kind.OUTAGE else "slow"
            self.plan.write_text(f"{kind} {now + fault.seconds:.3f} {SLOW_SECONDS}\n", encoding="utf-8")
            return f"for {fault.seconds:.1f} s"
        if fault.kind in {Kind.RANK_KILL, Kind.FREEZE}:
            return self._strike_rank(fault, picture, now)
        nodes = [node for node in runner.gang.nodes if node.process and node.process.poll() is None]
        if not nodes:
            return ""
        node = nodes[int(fault.draw * len(nodes))]
        assert node.process is not None
        node.process.send_signal(signal.SIGTERM if fault.kind is Kind.PREEMPT else signal.SIGKILL)
        if fault.kind is not Kind.POD_LOSS:
            return f"node {node.rank}"
        runner.keep_away(node.rank, fault.seconds)
        return f"node {node.rank} for {fault.seconds:.1f} s"

    def _strike_rank(self, fault: Fault, picture: Picture, now: float) -> str:
        ranks: list[Mapping[str, Any]] = [rank for rank in picture.ranks if rank.get("alive")]
        if not ranks:
            return ""
        rank = ranks[int(fault.draw * len(ranks))]
        try:
            os.kill(rank["pid"], signal.SIGKILL if fault.kind is Kind.RANK_KILL else signal.SIGSTOP)
        except ProcessLookupError:  # it has ended since it was seen
            return ""
        if fault.kind is Kind.RANK_KILL:
            return f"rank {rank['rank']}"
        self._thaws[rank["pid"]] = now + fault.seconds
        return f"rank {rank['rank']} for {fault.seconds:.1f} s"

    def _thaw(self, now: float) -> None:
        for pid in [pid for pid, at in self._thaws.items() if now >= at]:
            del self._thaws[pid]
            with suppress(ProcessLookupError):  # its launcher found that it hangs
                os.kill(pid, signal.SIGCONT)
