"""Runs the ranks of this pod from epoch to epoch until the job, or this pod, has come to its end."""

import time
from contextlib import suppress
from datetime import timedelta
from typing import Final

from ktrain.errors import PeerLostError, StorageError
from ktrain.history import Token
from ktrain.names import Exit
from ktrain.snapshot import Snapshot
from ktrain_launcher import exits
from ktrain_launcher.board import Inbox, Rank
from ktrain_launcher.control import News
from ktrain_launcher.ending import Ending
from ktrain_launcher.environment import Epoch, Group
from ktrain_launcher.exits import Ended
from ktrain_launcher.journal import Outcome
from ktrain_launcher.nursery import Child
from ktrain_launcher.pace import Pacing
from ktrain_launcher.parts import Parts, Round
from ktrain_launcher.process import state_of
from ktrain_launcher.ranks import Ranks
from ktrain_launcher.rendezvous import ClosedError
from ktrain_launcher.suspects import PATIENCE_SECONDS, SETTLE_SECONDS, Suspect, worst

MONITOR_SECONDS: Final = 0.1


class Agent:
    """Meets the others, starts the ranks, watches them, and ends them."""

    def __init__(self, parts: Parts) -> None:
        self._p = parts
        self._ending = Ending(parts)
        self._pacing = Pacing(parts.control, parts.board, parts.tally)
        self._round: Round | None = None
        self._restarts = 0
        parts.rendezvous.park = lambda: self._ending.park(self._round)
        self._interval = parts.control.every(MONITOR_SECONDS)

    # -- from epoch to epoch ---------------------------------------------------------------------------------------
    def supervise(self) -> Outcome:
        """The whole life of this launcher's ranks."""
        try:
            return self._live()
        except ClosedError:
            return self._ending.closed()
        except (PeerLostError, StorageError) as error:
            return Outcome(error.exit, str(error))
        finally:
            self._clean_up()

    def _live(self) -> Outcome:
        while True:
            try:
                outcome = self._epoch()
            except PeerLostError as error:
                outcome = self._lost(error)
            if outcome:
                return outcome
            self._restarts += 1
            if self._p.journal.is_done():  # by others, while our ranks failed
                return Outcome(Exit.DONE)

    def _epoch(self) -> Outcome | None:
        self._p.requests.hold(self._p.pause)
        round_ = self._begin()
        self._watch(round_)
        self._p.requests.begin(None)
        outcome = self._ending.judge(round_)
        self._count_end(round_, outcome)
        return outcome

    def _lost(self, error: PeerLostError) -> Outcome | None:
        """Node 0's launcher has gone: without ranks, but with all that is warm, we wait for the next one."""
        self._p.requests.begin(None)
        self._clean_up()
        if outcome := self._ending.lost():
            return outcome
        self._p.board.begin([])
        self._p.say("node_0_lost", error=error)
        self._p.tally.state = "rendezvous"
        self._p.tally.restarted(exits.cause_of(Exit.PEER))
        while table := self._p.reconnect():
            with suppress(PeerLostError):  # it has gone as well
                self._p.control.move(table)
                self._p.rendezvous.register()
                return None
        raise ClosedError

    def _count_end(self, round_: Round, outcome: Outcome | None) -> None:
        if self._p.tally.ledger:
            cause = None if outcome else self._p.control.any_cause(round_.number)
            self._p.tally.ledger.end(outcome.code if outcome else cause.code if cause else Exit.MEMBERSHIP)

    @property
    def token(self) -> Token | None:
        """The current epoch, or the last one."""
        return self._round.token if self._round else None

    def leave(self, outcome: Outcome) -> None:
        """Goes when the others can do without us."""
        self._ending.linger(self._round, outcome)

    def _clean_up(self) -> None:
        if self._round:
            self._round.ranks.kill()
            self._round.inbox.close()
            self._p.logs.drain()

    # -- the beginning of an epoch ---------------------------------------------------------------------------------
    def _begin(self) -> Round:
        self._warm_up()
        self._pacing.begin()
        self._p.tally.state = "rendezvous"
        if self._p.tally.ledger:
            self._p.tally.ledger.meet()
        begun = time.monotonic()
        formed = self._p.rendezvous.next_round()
        self._p.tally.met(time.monotonic() - begun)
        token = Token(formed.attempt, formed.epoch)
        errors = self._p.scratch / "errors" / token.prefix
        errors.mkdir(parents=True, exist_ok=True)
        inbox = Inbox(self._p.scratch, self._p.board)
        self._p.watch.reset()
        self._p.board.begin([])
        group = Group.of(formed, self._p.control.node, self._p.nproc, max_restarts=self._p.spec.restart.in_place)
        ranks = self._start(Epoch(formed, group, token.prefix, inbox.path, errors))
        number = self._p.rendezvous.round
        self._round = round_ = Round(number, token, formed.nodes, ranks, inbox, time.time(), News(number, None))
        self._p.requests.begin(ranks)
        self._tell_begin(formed.run, group.world_size, round_)
        return round_

    def _warm_up(self) -> None:
        """Ranks are forked from an interpreter that has imported torch; the first time that takes its seconds."""
        while not self._p.nursery.is_ready():
            if self._p.pause(MONITOR_SECONDS):
                raise ClosedError

    def _start(self, epoch: Epoch) -> Ranks:
        group = epoch.group
        self._p.logs.follow(epoch.prefix, list(group.ranks), world_size=group.world_size)
        children: dict[int, Child] = {}
        for rank in group.ranks:
            env = self._p.environment.of(epoch, rank, restarts=self._restarts)
            children[rank] = child = self._p.nursery.start(env, *self._p.logs.paths(epoch.prefix, rank))
            self._p.guard.add(child.pid)
        now = time.monotonic()
        self._p.board.begin([Rank(rank, local, children[rank].pid, now) for local, rank in enumerate(group.ranks)])
        return Ranks(
            children, errors=epoch.errors, last_lines=self._p.logs.last_lines, guard=self._p.guard, say=self._p.say
        )

    def _tell_begin(self, run: str, world_size: int, round_: Round) -> None:
        tally, token = self._p.tally, round_.token
        if tally.ledger:
            tally.ledger.begin()
        tally.state, tally.epoch, tally.run = "running", token.epoch, run
        tally.world_size = world_size
        self._p.say("epoch_started", epoch=token.prefix, world_size=tally.world_size, run=run)
        if self._p.control.node == 0:
            self._p.journal.epoch(token, started=round_.started)

    # -- while the ranks run -----------------------------------------------------------------------------------------
    def _watch(self, round_: Round) -> None:
        while not round_.ranks.have_ended and time.monotonic() < self._deadline(round_):
            time.sleep(self._interval)
            self._p.tally.tick()
            for ended in round_.ranks.poll():
                self._p.board.end(ended.rank, ended.code)
                self._p.tally.exited(ended.code)
            self._heed_stop(round_)
            self._heed_news(round_)
            self._heed_hang(round_)
            self._pacing.heed(round_.number, time.monotonic())

    def _deadline(self, round_: Round) -> float:
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

    def _heed_stop(self, round_: Round) -> None:
        if self._p.stop.is_requested and self._p.tally.state != "stopping":
            self._p.tally.state = "stopping"
            self._p.say("stopping", signal=self._p.stop.reason, grace_seconds=self._grace.total_seconds())
        if self._p.stop.is_requested:
            round_.ranks.ask_to_stop()

    def _heed_news(self, round_: Round) -> None:
        if round_.is_alone:
            return
        try:
            if self._p.control.node == 0:
                self._p.control.bury(round_.number, round_.nodes)
            round_.news = self._p.control.news()
            if round_.news.target > round_.number and round_.news_at is None:
                round_.news_at = time.monotonic()
                round_.news_cause = self._p.control.any_cause(round_.number)
        except PeerLostError:
            if not (self._p.stop.is_requested or self._p.journal.is_done()):
                raise
            round_.is_alone = True
        if round_.makes_room and self._can_hear(round_):
            round_.ranks.ask_to_stop()

    def _can_hear(self, round_: Round) -> bool:
        """Whether a SIGTERM finds a handler: a rank that has not reported would die of it. One that never does is killed later."""
        return len(self._p.board.snapshots()) >= len(round_.ranks.alive)

    def _heed_hang(self, round_: Round) -> None:
        if self._p.stop.is_requested or round_.ranks.failed or round_.news_at is not None or round_.is_alone:
            return
        snapshots = self._p.board.snapshots()
        limits = (self._p.watch.limit(snapshot).total_seconds() for snapshot in snapshots.values())
        self._p.tally.hang_limit = max(limits, default=None)
        hung = self._p.watch.hung(snapshots, time.monotonic())
        if hung is None or hung[0] not in round_.ranks.alive:
            self._clear(round_)
        elif round_.suspect is None:
            self._suspect(round_, snapshots[hung[0]], hung[1])
        else:
            self._judge_hang(round_, round_.suspect)

    def _suspect(self, round_: Round, snapshot: Snapshot, limit: timedelta) -> None:
        """All launchers whose ranks stand still say so, and let them write down where; then one of them is blamed."""
        process = state_of(round_.ranks.pid(snapshot.rank))
        suspect = Suspect(
            self._p.control.node, snapshot.rank, snapshot.step, snapshot.phase, limit.total_seconds(), process
        )
        self._p.say(
            "hang", rank=suspect.rank, limit_seconds=suspect.seconds, step=suspect.step, process=process or None
        )
        round_.ranks.ask_for_stacks()
        round_.suspect, round_.suspected_at = suspect, time.monotonic()
        self._p.control.suspect(round_.number, suspect)

    def _judge_hang(self, round_: Round, mine: Suspect) -> None:
        age = time.monotonic() - round_.suspected_at
        if age < SETTLE_SECONDS:
            return
        if worst([mine, *self._p.control.suspects(round_.number)]) != mine and age < SETTLE_SECONDS + PATIENCE_SECONDS:
            return
        round_.ranks.blame(mine.rank, Exit.HANG, mine.message)
        self._p.board.end(mine.rank, Exit.HANG)
        self._p.tally.exited(Exit.HANG)

    def _clear(self, round_: Round) -> None:
        if round_.suspect is not None:
            self._p.say("hang_over", rank=round_.suspect.rank)
            round_.suspect = None
            self._p.control.suspect(round_.number, None)

    @property
    def _grace(self) -> timedelta:
        return self._p.spec.preemption.grace
