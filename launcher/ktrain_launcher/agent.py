"""Runs the ranks of this pod from epoch to epoch until the job, or this pod, has come to its end."""

import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from torch.distributed.elastic.agent.server.api import WorkerGroup, WorkerSpec, WorkerState
from torch.distributed.elastic.agent.server.local_elastic_agent import LocalElasticAgent

from ktrain.errors import PeerLostError, StorageError
from ktrain.history import Token
from ktrain.names import Exit
from ktrain.spec import JobSpec
from ktrain_launcher import exits
from ktrain_launcher.board import Board, Inbox, Rank
from ktrain_launcher.budget import Budget
from ktrain_launcher.control import Cause, Control, News
from ktrain_launcher.environment import Environment, Epoch
from ktrain_launcher.exits import Action, Decision, Ended
from ktrain_launcher.hang import Watch
from ktrain_launcher.journal import Journal, Outcome
from ktrain_launcher.logs import Logs
from ktrain_launcher.process import Guard
from ktrain_launcher.ranks import Ranks
from ktrain_launcher.rendezvous import ClosedError, Rendezvous
from ktrain_launcher.stop import Stop
from ktrain_launcher.stores import Pause
from ktrain_launcher.tally import Tally
from ktrain_launcher.voice import Say

MONITOR_SECONDS: Final = 0.1
NODES_PER_TICK: Final = 100  # so many launchers may ask node 0's store in one monitor interval
DUMP_SECONDS: Final = 1.0
LINGER_SECONDS: Final = 5.0
SURELY_MOVED: Final = 60.0  # seconds after which a script that reports nothing counts as having worked


@dataclass(frozen=True, slots=True)
class Parts:
    """Everything that the agent works with; `__main__` makes it."""

    spec: JobSpec
    nproc: int
    scratch: Path
    command: tuple[str, tuple[str, ...]]
    control: Control
    rendezvous: Rendezvous
    environment: Environment
    logs: Logs
    board: Board
    watch: Watch
    guard: Guard
    journal: Journal
    tally: Tally
    stop: Stop
    pause: Pause
    say: Say


@dataclass(slots=True)
class _Round:
    """One epoch of the gang, as this pod sees it."""

    number: int
    token: Token
    ranks: Ranks
    inbox: Inbox
    started: float  # Unix seconds
    news: News
    news_at: float | None = None  # monotonic, when others wanted the next round
    news_cause: Cause | None = None
    is_alone: bool = False  # node 0's launcher has left, and we only finish what we have
    previous: dict[str, Any] = field(default_factory=dict)


class Agent(LocalElasticAgent):
    """torch meets the others and starts the processes as torchrun would; how they are watched and ended is ours.

    Of torch's private methods this uses `_rendezvous` and `_start_workers`, alike from 2.11 to 2.15.
    """

    def __init__(self, parts: Parts) -> None:
        entrypoint, args = parts.command
        spec = WorkerSpec(
            role="default",
            local_world_size=parts.nproc,
            rdzv_handler=parts.rendezvous,
            entrypoint=entrypoint,
            args=args,
            max_restarts=parts.spec.restart.in_place,
        )
        super().__init__(spec, parts.environment)
        self._p = parts
        self._budget = Budget.of(parts.spec.restart)
        self._round: _Round | None = None
        self._interval = MONITOR_SECONDS * max(1, parts.control.num_nodes / NODES_PER_TICK)

    # -- from epoch to epoch ---------------------------------------------------------------------------------------
    def supervise(self) -> Outcome:
        """The whole life of this launcher's ranks."""
        try:
            while True:
                round_ = self._begin()
                self._watch(round_)
                if outcome := self._end(round_):
                    return outcome
        except ClosedError:
            return self._closed()
        except PeerLostError as error:
            return self._lost(error)
        except StorageError as error:
            return Outcome(error.exit, str(error))
        finally:
            self._shutdown()

    @property
    def token(self) -> Token | None:
        """The current epoch, or the last one."""
        return self._round.token if self._round else None

    def linger(self, outcome: Outcome) -> None:
        """Keeps node 0's stores alive until the others have read what they need from them; then its last record."""
        if self._p.control.node:
            with suppress(PeerLostError):
                self._p.control.leave()
            return
        end = time.monotonic() + self._linger_seconds(outcome)
        while time.monotonic() < end and not self._p.control.have_left() and not self._p.stop.is_aborted:
            if outcome.code == Exit.PREEMPTED and self._round and self._p.control.have_ended(self._round.number):
                break
            time.sleep(0.02)
        self._record_end(outcome)

    def _linger_seconds(self, outcome: Outcome) -> float:
        if outcome.code == Exit.PREEMPTED:  # ranks elsewhere may still be committing through our store
            return max(LINGER_SECONDS, self._grace.total_seconds() - self._p.stop.age)
        return LINGER_SECONDS if outcome.code < 128 else 1.0

    # -- what torch calls ------------------------------------------------------------------------------------------
    @contextmanager
    def record_duration(self, state: str) -> Generator[None]:
        """torch's own looks up this host's name in DNS for an event that nobody reads; that can take seconds."""
        begun = time.monotonic()
        yield
        if state == "RENDEZVOUS":
            self._p.tally.met(time.monotonic() - begun)

    def _shutdown(self, *_args: object, **_options: object) -> None:
        if self._round:
            self._round.ranks.kill()
            self._round.inbox.close()
            self._p.logs.drain()

    # -- the beginning of an epoch ---------------------------------------------------------------------------------
    def _begin(self) -> _Round:
        self._p.tally.state = "rendezvous"
        group = self._worker_group
        self._rendezvous(group)
        formed = self._p.rendezvous.formed
        assert formed is not None
        self._record_end()
        token = Token(formed.attempt, formed.epoch)
        errors = self._p.scratch / "errors" / token.prefix
        errors.mkdir(parents=True, exist_ok=True)
        inbox = Inbox(self._p.scratch, self._p.board)
        self._p.environment.epoch = Epoch(formed, token.prefix, inbox.path, errors)
        self._p.watch.reset()
        self._p.board.begin([])
        ranks = self._start(group, token, errors)
        round_ = _Round(
            self._p.rendezvous.round, token, ranks, inbox, time.time(), News(self._p.rendezvous.round, None)
        )
        self._round = round_
        self._tell_begin(group, formed.run, round_)
        return round_

    def _start(self, group: WorkerGroup, token: Token, errors: Path) -> Ranks:
        ranks = [worker.global_rank for worker in group.workers]
        self._p.logs.follow(token.prefix, ranks, world_size=group.workers[0].world_size)
        pids = self._start_workers(group)
        for local_rank, pid in pids.items():
            group.workers[local_rank].id = pid
        group.state = WorkerState.HEALTHY
        now = time.monotonic()
        self._p.board.begin([Rank(worker.global_rank, worker.local_rank, worker.id, now) for worker in group.workers])
        assert self._pcontext is not None
        handlers = self._pcontext.subprocess_handlers  # type: ignore[attr-defined]  # ours is a SubprocessContext
        return Ranks(
            {group.workers[local_rank].global_rank: handler.proc for local_rank, handler in handlers.items()},
            errors=errors,
            last_lines=self._p.logs.last_lines,
            guard=self._p.guard,
            say=self._p.say,
        )

    def _tell_begin(self, group: WorkerGroup, run: str, round_: _Round) -> None:
        tally, token = self._p.tally, round_.token
        tally.state, tally.epoch, tally.run = "running", token.epoch, run
        tally.world_size = group.workers[0].world_size
        self._p.say("epoch_started", epoch=token.prefix, world_size=tally.world_size, run=run)
        if self._p.control.node == 0:
            self._p.journal.epoch(token, started=round_.started)

    # -- while the ranks run -----------------------------------------------------------------------------------------
    def _watch(self, round_: _Round) -> None:
        while not round_.ranks.have_ended and time.monotonic() < self._deadline(round_):
            time.sleep(self._interval)
            self._p.tally.tick()
            for ended in round_.ranks.poll():
                self._p.board.end(ended.rank, ended.code)
                self._p.tally.exited(ended.code)
            self._heed_stop(round_)
            self._heed_news(round_)
            self._heed_hang(round_)

    def _deadline(self, round_: _Round) -> float:
        """When those who still run have had their time; infinity while all is well."""
        ends = [float("inf")]
        failed = round_.ranks.failed
        if failed:
            ends.append(min(rank.at for rank in failed) + exits.patience(failed, grace=self._grace).total_seconds())
        if self._p.stop.is_requested:
            ends.append(time.monotonic() - self._p.stop.age + self._grace.total_seconds())
        if round_.news_at is not None:
            cause = round_.news_cause
            felt = [Ended(cause.rank, cause.code, 0, cause.by_signal)] if cause else []
            ends.append(round_.news_at + exits.patience(felt, grace=self._grace).total_seconds())
        if round_.news.verdict or self._p.stop.is_aborted:
            ends.append(0)
        return min(ends)

    def _heed_stop(self, round_: _Round) -> None:
        if self._p.stop.is_requested and self._p.tally.state != "stopping":
            self._p.tally.state = "stopping"
            self._p.say("stopping", signal=self._p.stop.reason, grace_seconds=self._grace.total_seconds())
        if self._p.stop.is_requested:
            round_.ranks.ask_to_stop()

    def _heed_news(self, round_: _Round) -> None:
        if round_.is_alone:
            return
        try:
            round_.news = self._p.control.news()
            if round_.news.target > round_.number and round_.news_at is None:
                round_.news_at = time.monotonic()
                round_.news_cause = self._p.control.any_cause(round_.number)
        except PeerLostError:
            if not (self._p.stop.is_requested or self._p.journal.is_done()):
                raise
            round_.is_alone = True

    def _heed_hang(self, round_: _Round) -> None:
        if self._p.stop.is_requested or round_.ranks.failed or round_.news_at is not None:
            return
        snapshots = self._p.board.snapshots()
        hung = self._p.watch.hung(snapshots, time.monotonic())
        if hung is None or hung[0] not in round_.ranks.alive:
            return
        rank, limit = hung
        message = f"rank {rank} made no step for {limit.total_seconds():g} s (step {snapshots[rank].step}, phase {snapshots[rank].phase})"
        self._p.say("hang", rank=rank, limit_seconds=limit.total_seconds(), step=snapshots[rank].step)
        round_.ranks.ask_for_stacks()
        self._p.stop.wait(DUMP_SECONDS)
        round_.ranks.blame(rank, Exit.HANG, message)
        self._p.board.end(rank, Exit.HANG)
        self._p.tally.exited(Exit.HANG)

    # -- the end of an epoch -------------------------------------------------------------------------------------------
    def _end(self, round_: _Round) -> Outcome | None:
        """How the pod ends, None when it goes on with the next epoch."""
        round_.ranks.kill()
        round_.inbox.close()
        self._p.logs.drain()
        ended = list(round_.ranks.ended.values())
        codes = {rank.rank: rank.code for rank in ended}
        if round_.is_alone:
            return self._end_alone()
        self._p.control.end_ranks(round_.number, codes)
        if round_.news.verdict:
            return self._outcome(round_.news.verdict)
        self._budget = self._budget.after_commit(self._checkpoint)
        decision = exits.decide(
            ended,
            budget_left=self._budget.left,
            has_moved=self._has_moved(round_),
            is_signalled=self._p.stop.is_requested,
            is_done=bool(round_.ranks.failed or self._p.stop.is_requested) and self._p.journal.is_done(),
            is_blameless=self._is_blameless(round_),
        )
        if (
            decision.action is Action.DONE
            and not (round_.ranks.have_ended and round_.news_at is None)
            and not round_.ranks.failed
        ):
            self._follow(round_)
            return None
        return self._act(decision, round_)

    def _act(self, decision: Decision, round_: _Round) -> Outcome | None:
        if decision.action is Action.DONE:
            return self._finish(round_)
        first = decision.first
        cause = Cause(
            self._p.control.node,
            first.rank if first else -1,
            decision.code,
            by_signal=first.by_signal if first else False,
            message=first.message if first else f"stopped by {self._p.stop.reason}",
        )
        if decision.action is Action.FAIL:
            return self._outcome(self._p.control.judge(cause))
        self._p.control.blame(round_.number, cause, is_echo=cause.code in exits.ECHOES)
        self._p.control.ask(round_.number)
        if decision.action is not Action.RESTART:
            return self._outcome(cause)
        self._restart(decision)
        return None

    def _restart(self, decision: Decision) -> None:
        self._remaining_restarts -= 1  # torch's TORCHELASTIC_RESTART_COUNT
        if decision.is_counted:
            self._budget = self._budget.after_failure()
        pause = self._budget.pause if decision.is_counted else timedelta(0)
        self._p.tally.restarted(decision.cause)
        self._p.say(
            "restart",
            cause=decision.cause,
            rank=decision.first.rank if decision.first else None,
            left=self._budget.left,
            pause_seconds=pause.total_seconds(),
        )
        self._p.pause(pause.total_seconds())

    def _follow(self, round_: _Round) -> None:
        """Others want the next round, and nothing was wrong with our ranks."""
        self._remaining_restarts -= 1
        cause = exits.cause_of(round_.news_cause.code if round_.news_cause else Exit.MEMBERSHIP)
        self._p.tally.restarted(cause)
        self._p.say("restart", cause=cause, asked_by_node=round_.news_cause.node if round_.news_cause else None)

    def _is_blameless(self, round_: _Round) -> bool:
        """Whether another pod has shown why our ranks lost a peer; it gets a moment to do so."""
        first = exits.first_failure(round_.ranks.failed)
        if first is None or first.code not in exits.ECHOES or self._p.control.num_nodes == 1:
            return False
        control, number = self._p.control, round_.number
        if first.code == Exit.PEER and not self._p.stop.is_requested:
            echo = Cause(control.node, first.rank, first.code, message=first.message)
            control.blame(number, echo, is_echo=True)
            control.ask(number)  # the others need not wait for what we wait for
            self._p.stop.wait(exits.SETTLE_ECHO.total_seconds(), until=lambda: _is_known(control, number))
        return control.cause(number) is not None

    def _finish(self, round_: _Round) -> Outcome | None:
        """Our ranks are done; the pod is when everybody's are, because a restart elsewhere would need us."""
        control = self._p.control
        control.finish(round_.number)
        while not control.have_finished(round_.number):
            self._p.tally.tick()
            news = control.news()
            if news.verdict:
                return self._outcome(news.verdict)
            if news.target > round_.number:
                self._follow(round_)
                return None
            if self._p.pause(MONITOR_SECONDS):
                return Outcome(Exit.DONE if self._p.journal.is_done() else Exit.PREEMPTED, step=self._step)
        if control.node == 0:
            self._p.journal.finished(self._step)
        return Outcome(Exit.DONE, step=self._step, checkpoint=self._checkpoint)

    def _end_alone(self) -> Outcome:
        """Node 0's launcher has left before us: at the end of the job, or because all were told to stop."""
        if self._p.journal.is_done():
            return Outcome(Exit.DONE, step=self._step, checkpoint=self._checkpoint)
        return self._outcome(Cause(-1, -1, Exit.PREEMPTED, message=f"stopped by {self._p.stop.reason}"))

    def _closed(self) -> Outcome:
        verdict = None if self._p.stop.is_requested else self._p.control.news().verdict
        message = f"stopped by {self._p.stop.reason} while waiting for the other nodes"
        return self._outcome(verdict or Cause(-1, -1, Exit.PREEMPTED, message=message))

    def _lost(self, error: PeerLostError) -> Outcome:
        if self._p.journal.is_done():
            return Outcome(Exit.DONE, step=self._step)
        if self._p.stop.is_requested:
            return self._outcome(Cause(-1, -1, Exit.PREEMPTED, message=f"stopped by {self._p.stop.reason}"))
        return self._outcome(Cause(-1, -1, Exit.PEER, message=str(error)))

    # -- records -------------------------------------------------------------------------------------------------------
    def _record_end(self, outcome: Outcome | None = None) -> None:
        """Node 0 completes the last epoch's record, now that all nodes have told how theirs ended."""
        round_, control = self._round, self._p.control
        if round_ is None or control.node:
            return
        cause = control.any_cause(round_.number)
        if outcome and outcome.code and cause is None:
            cause = Cause(0, -1 if outcome.rank is None else outcome.rank, outcome.code, message=outcome.message)
        codes = control.codes(round_.number)
        end = {
            "ended": time.time(),
            "cause": exits.cause_of(cause.code if cause else Exit.DONE),
            "exit_codes": {str(rank): code for rank, code in sorted(codes.items())},
            "first_failure": {"rank": cause.rank, "code": cause.code, "message": cause.message} if cause else None,
            "step": self._step,
        }
        self._p.journal.epoch(round_.token, started=round_.started, end=end)

    def _outcome(self, cause: Cause) -> Outcome:
        rank = cause.rank if cause.rank >= 0 else None
        return Outcome(cause.code, cause.message, rank, self._step, self._checkpoint)

    @property
    def _grace(self) -> timedelta:
        return self._p.spec.preemption.grace

    @property
    def _step(self) -> int | None:
        return max((snapshot.step for snapshot in self._p.board.snapshots().values()), default=None)

    @property
    def _checkpoint(self) -> int:
        return max((snapshot.checkpoint_step for snapshot in self._p.board.snapshots().values()), default=-1)

    def _has_moved(self, round_: _Round) -> bool:
        snapshots = self._p.board.snapshots().values()
        if not snapshots:
            return time.monotonic() - round_.ranks.begun > SURELY_MOVED
        return any(sum(snapshot.step_counts) > 0 or snapshot.step > snapshot.restored_step for snapshot in snapshots)


def _is_known(control: Control, round_: int) -> bool:
    return control.cause(round_) is not None or control.news().verdict is not None
