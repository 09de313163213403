"""`ktrain resume`."""

from typing import Annotated

import typer

from ktrain.cli.common import Context, Format, JobName, Namespace, Output, program, say, show
from ktrain.names import CliExit
from ktrain.units import counted


def command(
    name: JobName,
    nodes: Annotated[int | None, typer.Option("--nodes", min=1, help="Another number, for an elastic job.")] = None,
    namespace: Namespace = None,
    context: Context = None,
    output: Output = Format.text,
) -> int:
    """Give a suspended job its pods again; it goes on with the step after its last commit."""
    from ktrain.jobs.find import queue_of, reach_job
    from ktrain.jobs.pause import resume

    cluster, where, job = reach_job(name, namespace=namespace, context=context)
    wanted = resume(cluster, job, nodes=nodes)
    if output is not Format.text:
        show({"name": name, "namespace": where, "suspended": False, "nodes": wanted}, output)
    when = f"waits for admission to queue {queue_of(job)}, to run again" if queue_of(job) else "may run again,"
    say(f"job {name} {when} on {counted(wanted, 'node')}\n  next: {program()} status {name} -n {where}")
    return CliExit.OK
