"""`ktrain suspend`."""

from typing import Annotated

import typer

from ktrain.cli.common import Context, Format, JobName, Namespace, Output, Timeout, program, say, seconds, show
from ktrain.names import CliExit

Now = Annotated[bool, typer.Option("--now", help="Without asking for a checkpoint first; SIGTERM still saves.")]


def command(
    name: JobName,
    now: Now = False,
    timeout: Timeout = "10m",
    namespace: Namespace = None,
    context: Context = None,
    output: Output = Format.text,
) -> int:
    """Stop all ranks at one step, wait for its commit, then take the pods away. `ktrain resume` goes on with the next step."""
    from ktrain.jobs.find import is_suspended, reach_job
    from ktrain.jobs.pause import Waiting, keep_suspended, suspend

    cluster, where, job = reach_job(name, namespace=namespace, context=context)
    if is_suspended(job):
        say(f"job {name} {keep_suspended(cluster, job)}")
        return CliExit.OK
    step = suspend(cluster, job, save=not now, waiting=Waiting(seconds(timeout), say))
    if output is not Format.text:
        show({"name": name, "namespace": where, "suspended": True, "step": step}, output)
    at = "" if step is None else f" at step {step}"
    say(f"job {name} is suspended{at}\n  next: {program()} resume {name} -n {where}")
    return CliExit.OK
