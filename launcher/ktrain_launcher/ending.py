"""How an epoch ends: with a next one, or with this launcher's own end."""

import time
from contextlib import suppress
from typing import Final

from ktrain.errors import PeerLostError
from ktrain.names import Exit
from ktrain_launcher import exits
from ktrain_launcher.budget import Budget
from ktrain_launcher.control import Cause, Control
from ktrain_launcher.exits import Action, Decision
from ktrain_launcher.journal import Outcome
from ktrain_launcher.parking import Parking
from ktrain_launcher.parts import Parts, Round

POLL_SECONDS: Final = 0.1
LINGER_SECONDS: Final = 5.0
SURELY_MOVED: Final = 60.0  # seconds after which a script that reports nothing counts as having worked


class Ending:
    """Judges epochs; exits.py decides, this asks and tells the other launchers."""

    def __init__(self, parts: Parts) -> None:
        self._p = parts
        self._budget = Budget(parts.spec.restart.in_place)

    def judge(self, round_: Round) -> Outcome | None:
        """How the pod ends, None when it goes on with the next epoch."""
        have_ended = round_.ranks.have_ended and round_.news_at is None
        round_.ranks.kill()
        round_.ended = time.time()
        round_.inbox.close()
        self._p.logs.drain()
        ended = list(round_.ranks.ended.values())
        codes = {rank.rank: rank.code for rank in ended}
        if round_.is_alone:
            return self._end_alone()
        self._p.control.end_ranks(round_.number, codes)
        if round_.news.verdict:
            return self._outcome(round_.news.verdict)
        self._budget = self._budget.after_commit(-1 if self._committed is None else self._committed)
        if round_.makes_room and not self._p.stop.is_requested and exits.are_blameless(ended):
            self._follow(round_)
            return None
        decision = exits.decide(
            ended,
            budget_left=self._budget.left,
            has_moved=self._has_moved(round_),
            is_signalled=self._p.stop.is_requested,
            is_done=bool(round_.ranks.failed or self._p.stop.is_requested) and self._p.journal.is_done(),
            is_blameless=self._is_blameless(round_),
        )
        if decision.action is Action.DONE and not have_ended and not round_.ranks.failed:
            self._follow(round_)
            return None
        return self._act(decision, round_)

    def _act(self, decision: Decision, round_: Round) -> Outcome | None:
        if decision.action is Action.DONE:
            return self._finish(round_)
        cause = self._cause(decision)
        if decision.action is Action.FAIL:
            return self._outcome(self._p.control.judge(cause))
        self._p.control.blame(round_.number, cause)
        self._p.control.ask(round_.number)
        if decision.action is not Action.RESTART:
            return self._outcome(cause)
        self._restart(decision)
        return None

    def _cause(self, decision: Decision) -> Cause:
        first, node = decision.first, self._p.control.node
        if decision.action is Action.STOP:
            return self._stopped(first.rank if first else -1)
        assert first is not None
        return Cause(node, first.rank, decision.code, first.by_signal, first.message, decision.is_counted)

    def _stopped(self, rank: int = -1) -> Cause:
        """We were told to go; aborted, nothing was saved."""
        stop = self._p.stop
        code, how = (Exit.KILLED, "aborted") if stop.is_aborted else (Exit.PREEMPTED, "stopped")
        return Cause(self._p.control.node, rank, code, message=f"{how} by {stop.reason or 'another launcher'}")

    def _restart(self, decision: Decision) -> None:
        if decision.is_counted:
            self._budget = self._budget.after_failure()
        self._p.tally.restarted(decision.cause)
        self._p.say(
            "restart",
            cause=decision.cause,
            rank=decision.first.rank if decision.first else None,
            left=self._budget.left,
        )

    def _follow(self, round_: Round) -> None:
        """Others want the next round, and nothing was wrong with our ranks."""
        cause = exits.cause_of(round_.news_cause.code if round_.news_cause else Exit.MEMBERSHIP)
        self._p.tally.restarted(cause)
        self._p.say("restart", cause=cause, asked_by_node=round_.news_cause.node if round_.news_cause else None)

    def _is_blameless(self, round_: Round) -> bool:
        """Whether another pod has shown why our ranks lost a peer; it gets a moment to do so."""
        first = exits.first_failure(round_.ranks.failed)
        if first is not None and first.code in exits.AGREED and self._p.requests.is_stop_wanted:
            return True
        if first is None or first.code not in exits.ECHOES or len(round_.nodes) == 1:
            return False
        control, number = self._p.control, round_.number
        if first.code == Exit.PEER and not self._p.stop.is_requested:
            # Counted, because it is read only when nobody shows a real cause.
            echo = Cause(control.node, first.rank, first.code, message=first.message, is_counted=True)
            control.blame(number, echo)
            control.ask(number)  # the others need not wait for what we wait for
            self._p.stop.wait(exits.SETTLE_ECHO.total_seconds(), until=lambda: _is_known(control, number))
        return control.cause(number) is not None

    def _finish(self, round_: Round) -> Outcome | None:
        """Our ranks are done; the pod is when everybody's are, because a restart elsewhere would need us."""
        control = self._p.control
        control.finish(round_.number)
        while not control.have_finished(round_.number, round_.nodes):
            self._p.tally.tick()
            if control.node == 0:
                control.bury(round_.number, round_.nodes)
            news = control.news()
            if news.verdict:
                return self._outcome(news.verdict)
            if news.target > round_.number:
                round_.news_cause = control.any_cause(round_.number)
                self._follow(round_)
                return None
            if self._p.pause(POLL_SECONDS):
                return Outcome(Exit.DONE if self._p.journal.is_done() else Exit.PREEMPTED, step=self._step)
        if control.node == 0:
            self._p.journal.finished(self._step)
        return Outcome(Exit.DONE, step=self._step, checkpoint=self._committed)

    def _end_alone(self) -> Outcome:
        """Node 0's launcher has left before us: at the end of the job, or because all were told to stop."""
        if self._p.journal.is_done():
            return Outcome(Exit.DONE, step=self._step, checkpoint=self._committed)
        return self._outcome(self._stopped())

    def closed(self) -> Outcome:
        if self._p.journal.is_done():
            return Outcome(Exit.DONE, step=self._step, checkpoint=self._committed)
        verdict = None
        with suppress(PeerLostError):
            verdict = None if self._p.stop.is_requested else self._p.control.news().verdict
        return self._outcome(verdict or self._stopped())

    def lost(self) -> Outcome | None:
        """Node 0's launcher has gone: None when its successor will want us."""
        if self._p.journal.is_done():
            return Outcome(Exit.DONE, step=self._step)
        return self._outcome(self._stopped()) if self._p.stop.is_requested else None

    def park(self, round_: Round | None) -> Parking:
        """What node 0 must wait for before the next epoch; a job that failed too often gets its verdict."""
        self.record(round_)
        self._p.pause(0)  # storage may have taken its time, and we are alive
        parking = self._p.gate.look()
        if parking.sentence:
            self._p.gate.close(parking)
            rank = -1 if parking.rank is None else parking.rank
            self._p.control.judge(Cause(0, rank, Exit.EXHAUSTED, message=parking.sentence))
        return parking

    def record(self, round_: Round | None, outcome: Outcome | None = None) -> None:
        """Node 0 completes the last epoch's record, now that all nodes have told how theirs ended."""
        control = self._p.control
        if round_ is None or control.node:
            return
        cause = control.any_cause(round_.number) or self._cause_of(outcome)
        codes = control.codes(round_.number)
        end = {
            "ended": round_.ended or time.time(),
            "cause": exits.cause_of(cause.code if cause else Exit.DONE),
            "counted": bool(cause and cause.is_counted),
            "exit_codes": {str(rank): code for rank, code in sorted(codes.items())},
            "first_failure": {"rank": cause.rank, "code": cause.code, "message": cause.message} if cause else None,
            "step": self._step,
        }
        self._p.journal.epoch(round_.token, started=round_.started, end=end)

    def _cause_of(self, outcome: Outcome | None) -> Cause | None:
        """Why an epoch ended that no launcher has blamed anybody for."""
        if outcome is None:  # somebody wanted the next one
            return Cause(0, -1, Exit.MEMBERSHIP)
        if not outcome.code:
            return None
        rank = -1 if outcome.rank is None else outcome.rank
        is_counted = exits.is_failure(outcome.code) and not self._p.stop.is_requested
        return Cause(0, rank, outcome.code, message=outcome.message, is_counted=is_counted)

    def _outcome(self, cause: Cause) -> Outcome:
        rank = cause.rank if cause.rank >= 0 else None
        return Outcome(cause.code, cause.message, rank, self._step, self._committed)

    @property
    def _step(self) -> int | None:
        return max((snapshot.step for snapshot in self._p.board.snapshots().values()), default=None)

    @property
    def _committed(self) -> int | None:
        steps = (snapshot.checkpoint_step for snapshot in self._p.board.snapshots().values())
        return max((step for step in steps if step >= 0), default=None)

    def _has_moved(self, round_: Round) -> bool:
        snapshots = self._p.board.snapshots().values()
        if not snapshots:
            return time.monotonic() - round_.ranks.begun > SURELY_MOVED
        return any(sum(snapshot.step_counts) > 0 or snapshot.step > snapshot.restored_step for snapshot in snapshots)

    def linger(self, round_: Round | None, outcome: Outcome) -> None:
        """Keeps node 0's stores alive until the others have read what they need from them; then its last record."""
        if self._p.control.node:
            with suppress(PeerLostError):
                self._p.control.leave()
            return
        end = time.monotonic() + self._linger_seconds(outcome)
        while time.monotonic() < end and not self._p.control.have_left() and not self._p.stop.is_aborted:
            if outcome.code == Exit.PREEMPTED and (
                round_ is None or self._p.control.have_ended(round_.number, round_.nodes)
            ):
                break
            time.sleep(0.02)
        self.record(round_, outcome)

    def _linger_seconds(self, outcome: Outcome) -> float:
        if outcome.code == Exit.PREEMPTED:  # ranks elsewhere may still be committing through our store
            return max(LINGER_SECONDS, self._p.spec.preemption.grace.total_seconds() - self._p.stop.age)
        return LINGER_SECONDS if outcome.code < 128 else 1.0


def _is_known(control: Control, round_: int) -> bool:
    return control.cause(round_) is not None or control.news().verdict is not None
