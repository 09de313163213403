"""`ktrain stacks`."""

import dataclasses
from typing import Annotated

import typer

from ktrain.cli.common import Context, Format, JobName, Namespace, Output, Timeout, say, seconds, show
from ktrain.names import CliExit


def command(
    name: JobName,
    rank: Annotated[int | None, typer.Option("--rank", min=0, help="Only this rank.")] = None,
    timeout: Timeout = "1m",
    namespace: Namespace = None,
    context: Context = None,
    output: Output = Format.text,
) -> int:
    """Print the Python stacks of all threads of each rank, without stopping any of them."""
    from ktrain.jobs.ask import ask
    from ktrain.jobs.find import reach_job, running_pods
    from ktrain.request import Ask

    cluster, where, job = reach_job(name, namespace=namespace, context=context)
    answers = ask(cluster, job, running_pods(cluster, where, name), Ask.STACKS, timeout=seconds(timeout))
    if output is not Format.text:
        show([dataclasses.asdict(answer) for answer in answers], output)
    for answer in answers:
        if not answer.ok:
            say(f"node {answer.node}: {answer.message}")
        for number, lines in answer.stacks.items() if output is Format.text else ():
            if rank is None or number == str(rank):
                typer.echo("\n".join((f"--- rank {number}", *lines)))
    return CliExit.OK if all(answer.ok for answer in answers) else CliExit.FAILED
