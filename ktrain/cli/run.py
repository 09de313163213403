"""`ktrain run`."""

import glob
import os
import time
from typing import TYPE_CHECKING, Annotated

import typer

from ktrain.cli.common import Format, JobFile, Output, Sets, program, say, show
from ktrain.errors import SpecError
from ktrain.load import Loaded, load_job
from ktrain.names import CliExit
from ktrain.units import counted

if TYPE_CHECKING:
    from ktrain.local.ending import Again
    from ktrain.local.mapping import Mapped


def command(
    job: JobFile,
    nodes: Annotated[int | None, typer.Option("--nodes", min=1, help="Launchers, in place of spec.nodes.")] = None,
    procs: Annotated[
        int | None, typer.Option("--procs", min=1, help="Ranks per launcher, in place of spec.procsPerNode.")
    ] = None,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin a new run beside those that are there.")] = False,
    smoke: Annotated[
        bool,
        typer.Option("--smoke", help="3 steps, an evaluation, a checkpoint, a resume; on CPUs, and nothing is kept."),
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Lines instead of the live view.")] = False,
    sets: Sets = None,
    output: Output = Format.text,
) -> int:
    """Run a job here, without a cluster: the same file, the same launcher, the same checkpoints.

    Ctrl-C saves and stops; once more stops at once. The same command goes on from the last commit.
    """
    from ktrain.local.ending import Again
    from ktrain.local.mapping import Machine, adapt

    loaded = load_job(job, sets or ())
    if smoke:
        return _smoke(loaded, output)
    machine = Machine(gpus=len(glob.glob("/dev/nvidia[0-9]*")), cores=os.cpu_count() or 1)  # noqa: PTH207
    mapped = adapt(loaded.job, machine, nodes=nodes, procs=procs)
    ranks = mapped.nodes * mapped.procs
    if loaded.job.spec.trainer and ranks > (micros := loaded.job.spec.trainer.batch.micros):
        raise SpecError(
            f"{ranks} ranks share {counted(micros, 'micro-batch')} a step; lower --nodes or --procs, or spec.trainer.batch.micro"
        )
    for told in mapped.told:
        say(f"here: {told}")
    return _run(
        loaded, mapped, fresh=fresh, quiet=quiet, output=output, again=Again(program(), str(job), tuple(sets or ()))
    )


def _run(loaded: Loaded, mapped: "Mapped", *, fresh: bool, quiet: bool, output: Format, again: "Again") -> int:
    from ktrain.history import job_storage
    from ktrain.local import ending
    from ktrain.local.gang import Gang
    from ktrain.local.run import Interrupts, Runner
    from ktrain.local.view import open_view
    from ktrain.storage import scoped
    from ktrain.taken import metrics, take

    taken = take(mapped.job, loaded.storage_url, fresh=fresh)
    for warning in taken.warnings:
        say(f"warning: {warning}")
    if taken.is_done:
        say(ending.already_done(taken, again))
        return CliExit.OK
    if taken.step:
        say(f"resuming run {taken.run[:8]} from step {taken.step}")
    started = time.monotonic()
    interrupts = Interrupts()
    gang = Gang(mapped, taken, loaded.storage_url, loaded.folder)
    view = open_view(f"{mapped.job.metadata.name} · run {taken.run[:8]}", quiet=quiet or output is not Format.text)
    code = CliExit.FAILED
    try:
        ended = Runner(gang, view, interrupts).run()
        code = ended.code
    finally:
        view.close()
        gang.close(keep_logs=code is CliExit.JOB_FAILED)
        interrupts.restore()
    head = taken.now(mapped.job, loaded.storage_url)
    measured = metrics(head, scoped(job_storage(mapped.job, loaded.storage_url), taken.run))
    seconds = time.monotonic() - started
    say(
        ending.text(
            code=code,
            taken=taken,
            head=head,
            seconds=seconds,
            cause=ended.cause,
            again=again,
            metrics=measured,
        )
    )
    if code is CliExit.JOB_FAILED:
        say(f"  logs         {gang.scratch}")
    if output is not Format.text:
        step = head.newest.step if head and head.newest else 0
        show(
            {
                "exit": int(code),
                "run": taken.run,
                "url": taken.url,
                "step": step,
                "metrics": dict(measured),
                "cause": ended.cause,
            },
            output,
        )
    return code


def _smoke(loaded: Loaded, output: Format) -> int:
    import dataclasses

    from ktrain.local.smoke import smoke
    from ktrain.local.verdict import Verdict

    verdicts: list[Verdict] = []

    def tell(verdict: Verdict) -> None:
        verdicts.append(verdict)
        say(verdict.line)

    code, lines = smoke(loaded.job, loaded.folder, tell)
    if code is not CliExit.OK:
        say("\n".join(line for line in lines if not line.startswith("{")))
    say("smoke: this job works" if code is CliExit.OK else "smoke: this job does not work yet")
    if output is not Format.text:
        show({"exit": int(code), "verdicts": [dataclasses.asdict(it) for it in verdicts]}, output)
    return code
