"""Puts the agent together from its parts, attends to it, and takes it apart again."""

import sys
import threading
import time
import traceback
from dataclasses import replace
from functools import partial
from typing import Final

from ktrain.guard import Guard
from ktrain.history import Token, claim_epoch
from ktrain.names import PERMANENT, Exit
from ktrain.snapshot import Snapshot
from ktrain.spec import JobSpec
from ktrain_launcher.abandon import abandon
from ktrain_launcher.agent import Agent
from ktrain_launcher.control import Control
from ktrain_launcher.desk import Desk
from ktrain_launcher.environment import Environment
from ktrain_launcher.epoch_store import EpochStore
from ktrain_launcher.journal import Outcome
from ktrain_launcher.ledger import Keeper, Ledger, carried_on
from ktrain_launcher.logs import Logs
from ktrain_launcher.memory import COPIES, Memory
from ktrain_launcher.nursery import Nursery
from ktrain_launcher.parts import Parts
from ktrain_launcher.program import base_environment
from ktrain_launcher.quorum import Quorum
from ktrain_launcher.rendezvous import LOOK_EVERY, Rendezvous
from ktrain_launcher.requests import Requests
from ktrain_launcher.table import KeyValues, Table
from ktrain_launcher.table_client import connect
from ktrain_launcher.table_server import TableServer

STALLED_SECONDS: Final = 180.0
"""An agent that has not come round for so long waits for a network that will not answer."""

STOP_MARGIN_SECONDS: Final = 15.0
ATTEND_SECONDS: Final = 0.1


def supervise(desk: Desk, nursery: Nursery) -> Outcome:
    """Runs the ranks to their end; the main thread keeps the signals and an eye on the agent."""
    table = _table(desk)
    if table is None and not desk.stop.is_requested:
        return Outcome(Exit.DONE, "the run was completed without this pod")
    if table is None:
        return Outcome(Exit.PREEMPTED, f"stopped by {desk.stop.reason} while waiting for node 0")
    control = _control(desk, table)
    guard = Guard()
    logs = Logs(desk.pod.scratch / "logs", out=sys.stdout.buffer, err=sys.stderr.buffer)
    keeper = _keep_account(desk)
    parts = _parts(desk, nursery, control, guard, logs)
    agent = Agent(parts)
    outcome = _with_epoch(_attend(agent, desk), agent)
    parts.requests.close()
    if keeper:
        keeper.close(outcome.code)
    _leave_word(agent, outcome, desk, logs)
    if agent.token and desk.pod.node_rank == 0 and outcome.code in PERMANENT:
        abandon(desk.places.run, agent.token, desk.say)
    if keeper:
        keeper.leave()
    guard.close()  # whatever the agent could not end
    logs.close()
    return outcome


def _table(desk: Desk) -> KeyValues | None:
    """Node 0's, which is here, or another pod's; None when we are told to stop, or come too late."""
    pod = desk.pod
    desk.tally.state = "rendezvous"
    if pod.node_rank:
        return _connect(desk)
    table = Table()
    TableServer(table, pod.bind, pod.rdzv_port)  # to the end of this process
    return table


def _control(desk: Desk, table: KeyValues) -> Control:
    pod = desk.pod
    where = f"{pod.rdzv_host}:{pod.rdzv_port}"
    return Control(table, node=pod.node_rank, num_nodes=_quorum(desk).most, where=where)


def _quorum(desk: Desk) -> Quorum:
    """Of a job that is not elastic, as many as it was given: here, or by `ktrain resume --nodes`."""
    spec, told = desk.job.spec, desk.pod.num_nodes
    if isinstance(spec.nodes, int):
        return Quorum(told, told, told)
    return Quorum(min(spec.min_nodes, told), max(spec.max_nodes, told), told)


def _connect(desk: Desk) -> KeyValues | None:
    """None also when the run is done: a node 0 that has played its part does not come back."""
    looked = time.monotonic()

    def pause(seconds: float) -> bool:
        nonlocal looked
        if time.monotonic() - looked > LOOK_EVERY:
            looked = time.monotonic()
            if desk.places.journal.is_done():
                return True
        return desk.pause(seconds)

    pod = desk.pod
    return connect(pod.rdzv_host, pod.rdzv_port, pause=pause, say=desk.say, note=desk.tally.take_note)


def _keep_account(desk: Desk) -> Keeper | None:
    """On node 0."""
    pod, run = desk.pod, desk.places.run
    if pod.node_rank != 0:
        return None
    account = carried_on(
        run, submitted=pod.submitted, bound=pod.bound_at(desk.launched), launched=desk.launched, say=desk.say
    )

    def chief() -> Snapshot | None:
        return desk.board.snapshots().get(0)

    desk.tally.ledger = Ledger(account, chief, tells=desk.job.spec.script is None)
    return Keeper(desk.tally.ledger, run, chief, launched=desk.launched, say=desk.say)


def _parts(desk: Desk, nursery: Nursery, control: Control, guard: Guard, logs: Logs) -> Parts:
    pod, spec, run = desk.pod, desk.job.spec, desk.places.run
    base = base_environment(desk.job, desk.nproc)

    def claim(held: Token | None) -> Token:
        return claim_epoch(run, attempt=pod.attempt, held=held)

    rendezvous = Rendezvous(
        control,
        _quorum(desk),
        host=pod.rdzv_host,
        run=desk.places.run_id,
        claim=claim,
        new_store=EpochStore(nursery, guard, base, folder=pod.scratch, bind=pod.bind).renew,
        is_done=desk.places.journal.is_done,
        pause=desk.pause,
        note=desk.tally.take_note,
        say=desk.say,
    )
    return Parts(
        spec=spec,
        nproc=desk.nproc,
        scratch=pod.scratch,
        nursery=nursery,
        control=control,
        rendezvous=rendezvous,
        environment=Environment(pod, base, Memory(desk.nproc, _copies(spec), desk.say)),
        logs=logs,
        board=desk.board,
        watch=desk.watch,
        guard=guard,
        journal=desk.places.journal,
        gate=desk.gate,
        requests=Requests(pod.request, run, pod.node_rank, board=desk.board, logs=logs, tally=desk.tally, say=desk.say),
        tally=desk.tally,
        stop=desk.stop,
        reconnect=partial(_connect, desk),
        pause=desk.pause,
        say=desk.say,
    )


def _copies(spec: JobSpec) -> int:
    """The steps between two checkpoints are copied into one more, so that a whole one is there at any time."""
    return COPIES + bool(spec.trainer and spec.trainer.checkpoint.memory_every)


def _attend(agent: Agent, desk: Desk) -> Outcome:
    desk.tally.tick()
    outcomes: list[Outcome] = []
    thread = threading.Thread(target=lambda: outcomes.append(_outcome_of(agent, desk)), name="agent", daemon=True)
    thread.start()
    grace = desk.job.spec.preemption.grace.total_seconds()
    while thread.is_alive():
        thread.join(ATTEND_SECONDS)
        if desk.stop.age > grace + STOP_MARGIN_SECONDS:
            return Outcome(Exit.PREEMPTED, f"stopped by {desk.stop.reason}; the agent did not come to its end in time")
        if desk.tally.age > STALLED_SECONDS:
            return Outcome(Exit.PEER, f"no answer from the network for {desk.tally.age:.0f} s")
    return outcomes[0]


def _outcome_of(agent: Agent, desk: Desk) -> Outcome:
    try:
        return agent.supervise()
    except Exception as error:  # noqa: BLE001  -- a bug of ours must still end with a code and a message
        traceback.print_exc()
        if agent.token is None:
            return desk.gate.charge(error)
        return Outcome(Exit.PEER, f"the launcher failed: {type(error).__name__}: {error}")


def _leave_word(agent: Agent, outcome: Outcome, desk: Desk, logs: Logs) -> None:
    """The verdict, because pod and logs may be gone soon; and node 0's stores for as long as others need them."""
    desk.tally.state = "failed" if outcome.code else "done"
    if token := agent.token or _last_of_all(outcome, desk):
        last_lines = {rank.rank: logs.last_lines(rank.rank) for rank in desk.board.ranks()}
        desk.places.journal.verdict(token, desk.pod.node_rank, outcome, last_lines)
    agent.leave(outcome)


def _with_epoch(outcome: Outcome, agent: Agent) -> Outcome:
    return replace(outcome, epoch=agent.token.prefix) if agent.token else outcome


def _last_of_all(outcome: Outcome, desk: Desk) -> Token | None:
    """The epoch that is spoken of when the job is given up by a node 0 that has seen none itself."""
    is_given_up = outcome.code == Exit.EXHAUSTED and desk.pod.node_rank == 0
    return desk.gate.newest if is_given_up else None
