"""One rank of a job: join the gang, build, train, leave; every way out is an exit code."""

import logging
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from ktrain import names, resume
from ktrain.names import Exit
from ktrain.snapshot import Sender
from ktrain.spec import TrainingJob
from ktrain_trainer import failures, loop
from ktrain_trainer.assemble import assemble, build_parts
from ktrain_trainer.numerics import set_numerics
from ktrain_trainer.place import given
from ktrain_trainer.run import Run
from ktrain_trainer.stop import StopFlag
from ktrain_trainer.world import World


def work(job: TrainingJob, env: Mapping[str, str], stop: StopFlag) -> Exit:
    """Trains; returns how it ended. Whatever fails is told to the launcher in its error file."""
    run: Run | None = None
    try:
        spec = job.spec.trainer
        assert spec is not None, "the launcher starts the trainer only for declarative jobs"
        set_numerics(spec)
        world = World.join(env)
        logging.getLogger("ktrain").setLevel(logging.INFO if world.is_first else logging.WARNING)
        run = assemble(
            spec,
            build_parts(spec),
            world,
            given(job, env),
            stop=stop,
            sender=Sender(env[names.ENV_SNAPSHOT_SOCKET]) if env.get(names.ENV_SNAPSHOT_SOCKET) else None,
            document=job.model_dump(mode="json", by_alias=True),
            check_spec=resume.check,
            most_ranks=job.spec.max_ranks,
        )
        loop.train(run)
        run.meter.enter("done")
        return _outcome(run, stop)
    except BaseException as error:  # noqa: BLE001  -- the last frame of the process: everything becomes an exit code
        return _failed(error, env, run)
    finally:
        if run is not None:
            run.journal.close()
            run.meter.tell()


def _outcome(run: Run, stop: StopFlag) -> Exit:
    if not run.is_stopping:
        return Exit.DONE
    # Only who was told to go leaves with 143; for the others the gang changes, and they come back.
    return Exit.PREEMPTED if stop.is_set else Exit.MEMBERSHIP


def _failed(error: BaseException, env: Mapping[str, str], run: Run | None) -> Exit:
    code = failures.classify(error)
    path = env.get(names.ENV_ERROR_FILE)
    step = run.progress.step if run else 0
    document = failures.report(error, code, Path(path) if path else None, step=step)
    print(document["traceback"] or document["message"], file=sys.stderr, flush=True)  # noqa: T201
    return code


def leave(code: Exit) -> None:
    """Ends the process at once: interpreter shutdown with gloo threads alive aborts now and then (ai2cm/ace#1407)."""
    logging.shutdown()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
