"""First process of a training pod: reads, checks, and runs the ranks to their end."""

import os
import sys
import time
import traceback
from datetime import UTC, datetime
from functools import partial
from typing import NoReturn

from pydantic import ValidationError

from ktrain.errors import KtrainError, SpecError
from ktrain.names import Exit
from ktrain.serve import Server
from ktrain.spec import TrainingJob
from ktrain.voice import Say, Voice
from ktrain_launcher import preflight
from ktrain_launcher.board import Board
from ktrain_launcher.code import prepare
from ktrain_launcher.desk import Desk
from ktrain_launcher.gate import Gate
from ktrain_launcher.hang import Watch
from ktrain_launcher.journal import Outcome, write_termination
from ktrain_launcher.metrics import Identity
from ktrain_launcher.nursery import Nursery
from ktrain_launcher.pages import Pages
from ktrain_launcher.places import open_places
from ktrain_launcher.pod import Pod
from ktrain_launcher.program import base_environment, command, modules
from ktrain_launcher.stop import Stop
from ktrain_launcher.supervise import supervise
from ktrain_launcher.tally import Tally

LAUNCHED = time.time()


def main() -> NoReturn:
    """The whole life of a launcher."""
    stop = Stop()
    stop.install()
    try:
        pod = Pod.read(os.environ)
        pod.make_folders(os.environ)
        job = read_job(pod)
    except KtrainError as error:
        sys.stderr.write(f"{error}\n")
        _leave(error.exit)
    say = Voice(job=job.metadata.name, node=pod.node_rank)
    outcome = _guarded(pod, job, stop, say)
    write_termination(pod.termination_log, outcome, say)
    say("exit", code=outcome.code, cause=outcome.cause, rank=outcome.rank, step=outcome.step, message=outcome.message)
    _leave(outcome.code)


def read_job(pod: Pod) -> TrainingJob:
    """The resolved spec; raises SpecError."""
    try:
        return TrainingJob.model_validate_json(pod.spec_path.read_bytes())
    except OSError as error:
        raise SpecError(
            f"{pod.spec_path} cannot be read ({error.strerror}); KTRAIN_SPEC must name the resolved spec"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"])) or "document"
        raise SpecError(f"{pod.spec_path}: {where}: {first['msg']}") from error


def _guarded(pod: Pod, job: TrainingJob, stop: Stop, say: Say) -> Outcome:
    try:
        return _launch(pod, job, stop, say)
    except KtrainError as error:
        return Outcome(error.exit, str(error))
    except Exception as error:  # noqa: BLE001  -- a bug of ours must still end with a code and a message
        traceback.print_exc()
        return Outcome(Exit.PEER, f"the launcher failed: {type(error).__name__}: {error}")


def _launch(pod: Pod, job: TrainingJob, stop: Stop, say: Say) -> Outcome:
    tally, watch = Tally(), Watch(job.spec.hang.timeout)
    board = Board(watch.hear)
    _serve(pod, job, board, tally, say)
    places = open_places(pod, job, stop, say)
    if places is None:
        return Outcome(Exit.PREEMPTED, f"stopped by {stop.reason}")
    if places.journal.is_done():
        return Outcome(Exit.DONE, "the run is complete already")
    gate = Gate(
        places.run,
        places.journal,
        job.spec.restart,
        attempt=pod.attempt,
        node=pod.node_rank,
        pause=partial(stop.wait, until=tally.tick),
        say=say,
    )
    try:
        return _run(Desk(pod, job, places, gate, board, watch, tally, stop, say, LAUNCHED))
    except KtrainError:
        raise
    except Exception as error:  # noqa: BLE001  -- a bug of ours must not bring this pod back for ever
        traceback.print_exc()
        return gate.charge(error)


def _run(desk: Desk) -> Outcome:
    pod, job, stop = desk.pod, desk.job, desk.stop
    code = prepare(pod, job.spec, desk.places.job)
    place = preflight.Place(job.spec, pod.scratch, desk.places.run, code, in_cluster=pod.in_cluster)
    if problem := preflight.check(place, datetime.now(UTC)):
        return Outcome(problem.code, problem.sentence)
    if stop.is_requested:
        return Outcome(Exit.PREEMPTED, f"stopped by {stop.reason}")
    nursery = Nursery(command(job, code), base_environment(job, desk.nproc), modules(job))  # warms up while we do
    return supervise(desk, nursery)


def _serve(pod: Pod, job: TrainingJob, board: Board, tally: Tally, say: Say) -> None:
    me = job.metadata
    identity = Identity(me.name, me.namespace, pod.node_rank, pod.attempt, job.spec.metrics.per_rank)
    pages = Pages(identity, board, tally)
    server = Server(pages.routes, bind=pod.bind, port=pod.metrics_port, setting="spec.metrics.port")
    say("serving", port=server.port)


def _leave(code: int) -> NoReturn:
    """Without the interpreter's farewell: threads of ours may wait for what will not come."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    main()
