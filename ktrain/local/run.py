"""`ktrain run`: starts the launchers, plays the operator, shows what happens, and leaves nothing behind."""

import json
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from types import FrameType
from typing import Any, Final

from ktrain.local import operator
from ktrain.local.gang import Gang, Node
from ktrain.local.status import Asker
from ktrain.local.tail import Tail
from ktrain.local.view import View
from ktrain.names import CliExit, Exit
from ktrain.picture import Picture
from ktrain.spec.platform import Restart
from ktrain.units import counted, format_time

TICK: Final = 0.1
ASK_EVERY: Final = 0.5


@dataclass(frozen=True, slots=True)
class Ended:
    """How the run ended, for the command line to tell."""

    code: CliExit
    picture: Picture
    cause: dict[str, Any] = field(default_factory=dict)


class Interrupts:
    """Counts the signals: the first asks to save and stop, the second to end at once."""

    def __init__(self) -> None:
        self.count = 0
        self.first: signal.Signals | None = None
        self._before = {number: signal.signal(number, self._on_signal) for number in (signal.SIGINT, signal.SIGTERM)}

    @property
    def exit(self) -> CliExit:
        """Of a command that was stopped: by Ctrl-C, or told to go."""
        return CliExit.INTERRUPTED if self.first is signal.SIGINT else CliExit.PREEMPTED

    def restore(self) -> None:
        """Gives the signals back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self.count += 1
        self.first = self.first or signal.Signals(number)


@dataclass
class Runner:
    """The loop over processes, status and signals."""

    gang: Gang
    view: View
    interrupts: Interrupts
    attend: "Callable[[Runner, Picture], None]" = lambda _runner, _picture: None
    """Who looks on, and may lay hands on the launchers."""
    ask_every: float = ASK_EVERY
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    picture: Picture = field(default_factory=Picture)
    cause: dict[str, Any] = field(default_factory=dict)
    _failures: list[float] = field(default_factory=list)
    _due: dict[int, float] = field(default_factory=dict)  # node → when it starts again
    _epoch_before: dict[int, int] = field(default_factory=dict)  # node → the newest one when its launcher was started
    _away: dict[int, float] = field(default_factory=dict)  # node → before when it must not
    _open: set[int] = field(default_factory=set)  # nodes that have not ended for good
    _failed: bool = False
    _is_taken_over: bool = False
    _asked_to_stop: bool = False
    _seen_epoch: int = 0

    def run(self) -> Ended:
        """Until every launcher has ended for good."""
        tails = [Tail(node.log) for node in self.gang.nodes]
        asker = Asker([node.port for node in self.gang.nodes])
        for node in self.gang.nodes:
            self._open.add(node.rank)
            self.gang.start(node)
        asked_at = 0.0
        while self._open:
            self._hear_signals()
            for node in self.gang.nodes:
                self._look_at(node)
            if self.clock() - asked_at >= self.ask_every:
                asked_at = self.clock()
                picture = asker.ask()
                self._look(picture)
                self.attend(self, picture)
            self._forward(tails)
            self.sleep(TICK)
        self._forward(tails)
        return Ended(self._code(), self.picture, self.cause)

    def keep_away(self, node: int, seconds: float) -> None:
        """This node is not started again before so many seconds have passed, as if its machine were gone."""
        self._away[node] = self.clock() + seconds

    def _hear_signals(self) -> None:
        if self.interrupts.count and not self._asked_to_stop:
            self._asked_to_stop = True
            self.view.event("saving and stopping; once more to stop at once")
            self._end_all()
        if self.interrupts.count > 1:
            self.gang.kill()

    def _look_at(self, node: Node) -> None:
        if node.rank in self._due:
            if self.clock() >= self._due[node.rank]:
                del self._due[node.rank]
                self._epoch_before[node.rank] = self._seen_epoch
                self.gang.start(node)
            return
        assert node.process is not None
        code = node.process.poll()
        if code is None or node.rank not in self._open:
            return
        self.gang.guard.remove(node.process.pid)
        self._judge(node, code if code >= 0 else 128 - code)

    def _judge(self, node: Node, code: int) -> None:
        now = self.clock()
        # A launcher that had an epoch keeps the job's budget itself, in storage; here only the others are counted.
        if code not in {0, 143} and not (_termination(node).get("epoch") or self._had_epoch(node)):
            self._failures.append(now)
        verdict = operator.judge(
            code, stopping=self._asked_to_stop or self._failed or self._is_taken_over, failures=self._failures, now=now,
            budget=self.gang.mapped.job.spec.restart, is_local=self.gang.taken.is_local,
            is_taken_over=code == Exit.MEMBERSHIP and self.gang.is_taken_over(),
        )  # fmt: skip
        if verdict.action == "restart":
            self._restart(node, code, verdict.pause)
            return
        self._open.discard(node.rank)
        if verdict.action == "fail":
            self._fail(node, code)
        elif verdict.action == "yield":
            self._is_taken_over = True
            self._end_all()

    def _had_epoch(self, node: Node) -> bool:
        """Whether one began in its life: a launcher that is killed leaves no word of it."""
        return self._seen_epoch > self._epoch_before.get(node.rank, 0)

    def _restart(self, node: Node, code: int, pause: timedelta) -> None:
        said = _termination(node)
        cause = ": ".join(str(it) for it in (said.get("cause") or f"exit {code}", said.get("message")) if it)
        when = f" in {pause.total_seconds():g} s" if pause else ""
        self.view.event(f"node {node.rank} ended ({cause}); starting it again{when}")
        self._due[node.rank] = max(self.clock() + pause.total_seconds(), self._away.get(node.rank, 0.0))

    def _fail(self, node: Node, code: int) -> None:
        self._failed = True
        self.cause = {"code": code, "node": node.rank, **_termination(node)}
        if code >= 128 and not (code == Exit.STORAGE and self.gang.taken.is_local):
            self.cause = _given_up(self.cause, self.gang.mapped.job.spec.restart)
        self._end_all()

    def _end_all(self) -> None:
        self._stop_waiting()
        self.gang.stop()

    def _stop_waiting(self) -> None:
        for rank in self._due:
            self._open.discard(rank)

    def _look(self, picture: Picture) -> None:
        if not picture.states:
            return
        if picture.epoch > self._seen_epoch > 0:
            self.view.event(f"the ranks start again as epoch {picture.epoch}")
        self._seen_epoch = max(self._seen_epoch, picture.epoch)
        if picture.first or not self.picture.first:
            self.picture = picture
        self.view.update(picture)

    def _forward(self, tails: list[Tail]) -> None:
        for tail in tails:
            for line in tail.lines():
                self.view.output(line)

    def _code(self) -> CliExit:
        if self._failed:
            return CliExit.JOB_FAILED
        if self._is_taken_over:
            return CliExit.CONFLICT
        if self._asked_to_stop:
            return self.interrupts.exit
        return CliExit.OK


def _given_up(last: dict[str, Any], budget: Restart) -> dict[str, Any]:
    """As a launcher says it that has come so far."""
    said = last.get("message") or f"node {last['node']} ended with {last['code']} before it could say why"
    message = f"gave up after more than {counted(budget.max, 'failure')} in {format_time(budget.window)}; the last one: {said}"
    return {**last, "code": int(Exit.EXHAUSTED), "cause": "exhausted", "message": message}


def _termination(node: Node) -> dict[str, Any]:
    try:
        document = json.loads(node.termination.read_text())
    except (OSError, ValueError):  # killed before it could say anything
        return {}
    return document if isinstance(document, dict) else {}
