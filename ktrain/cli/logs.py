"""`ktrain logs`."""

from typing import TYPE_CHECKING, Annotated

import typer

from ktrain.cli.common import Context, JobName, Namespace, say
from ktrain.names import CliExit

if TYPE_CHECKING:
    from ktrain.cluster import Cluster


def command(
    name: JobName,
    rank: Annotated[int | None, typer.Option("--rank", min=0, help="Only what this rank wrote.")] = None,
    follow: Annotated[
        bool, typer.Option("--follow", "-f", help="Go on until the job ends; waits for its pods.")
    ] = False,
    previous: Annotated[
        bool, typer.Option("--previous", "-p", help="Of the containers before the last restart.")
    ] = False,
    tail: Annotated[int | None, typer.Option("--tail", min=0, help="Only the last lines.")] = None,
    namespace: Namespace = None,
    context: Context = None,
) -> int:
    """Print what all ranks wrote, in order; ranks that only felt another's failure are counted, not quoted."""
    from ktrain.cluster import Cluster
    from ktrain.jobs.find import find_job
    from ktrain.logs import merge
    from ktrain.logs.read import follow as follow_job
    from ktrain.logs.read import read

    cluster = Cluster.connect(context=context)
    where = namespace or cluster.namespace
    if follow:
        find_job(cluster, where, name)
        for line in merge.only(follow_job(cluster, where, name, tail=tail), rank):
            typer.echo(line.shown())
        return CliExit.OK
    asked = tail if rank is None else None  # the last lines of one rank are not among the last of its pod
    lines = list(merge.only(read(cluster, where, name, tail=asked, previous=previous), rank))
    for text in merge.folded(lines if tail is None else lines[len(lines) - min(tail, len(lines)) :]):
        typer.echo(text)
    if failure := _failure(cluster, where, name):
        say(f"first failure: {failure}")
    return CliExit.OK


def _failure(cluster: "Cluster", namespace: str, name: str) -> str:
    """Of a job that has failed: who began it, and how."""
    from ktrain.status.observe import observe
    from ktrain.status.why import state

    found = state(observe(cluster, namespace, name))
    return found.why if found.what == "failed" else ""
