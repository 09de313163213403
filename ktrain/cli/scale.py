"""`ktrain scale`."""

from typing import Annotated

import typer

from ktrain.cli.common import Context, Format, JobName, Namespace, Output, program, say, show
from ktrain.names import CliExit
from ktrain.units import counted


def command(
    name: JobName,
    nodes: Annotated[int, typer.Option("--nodes", min=1, help="How many, within spec.nodes.")],
    namespace: Namespace = None,
    context: Context = None,
    output: Output = Format.text,
) -> int:
    """Give a running elastic job another number of nodes; it stops for each change at one step, saved, and goes on."""
    from ktrain.jobs.find import reach_job
    from ktrain.jobs.scale import scale

    cluster, where, job = reach_job(name, namespace=namespace, context=context)
    before = scale(cluster, job, nodes)
    if output is not Format.text:
        show({"name": name, "namespace": where, "nodes": nodes, "before": before}, output)
    say(f"job {name}: {before} → {counted(nodes, 'node')}\n  next: {program()} status {name} -n {where}")
    return CliExit.OK
