"""`ktrain list`."""

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from ktrain.cli.common import Context, Format, Namespace, Output, say, show
from ktrain.names import ANNOTATION_ATTEMPT, MANAGED_BY, CliExit


def command(
    namespace: Namespace = None,
    everywhere: Annotated[bool, typer.Option("--all-namespaces", "-A", help="In all namespaces.")] = False,
    context: Context = None,
    output: Output = Format.text,
) -> int:
    """List the jobs that ktrain made."""
    from ktrain import progress
    from ktrain.cluster import JOB, Cluster

    cluster = Cluster.connect(context=context)
    where = "" if everywhere else namespace or cluster.namespace
    rows = [_row(job) for job in cluster.list(JOB, where, labels=f"{MANAGED_BY}=ktrain")]
    if output is not Format.text:
        show(rows, output)
    elif not rows:
        say(f"there is no job in {f'namespace {where}' if where else 'any namespace'}; `ktrain submit` makes one")
    for row in rows if output is Format.text else ():
        age = progress.length(row["age_seconds"])
        typer.echo(
            f"{row['namespace']:<20} {row['name']:<32} {row['state']:<10} {row['nodes']:>3} nodes  attempt {row['attempt']}  {age}"
            + (f"  {row['reason']}" if row["reason"] else "")
        )
    return CliExit.OK


def _row(job: dict[str, Any]) -> dict[str, Any]:
    me = job["metadata"]
    born = datetime.fromisoformat(me["creationTimestamp"].replace("Z", "+00:00"))
    from ktrain.status.word import reason, word

    return {
        "namespace": me["namespace"],
        "name": me["name"],
        "state": word(job),
        "nodes": job["spec"]["pytorchReplicaSpecs"]["Worker"].get("replicas", 1),
        "attempt": int(me.get("annotations", {}).get(ANNOTATION_ATTEMPT, "1")),
        "reason": reason(job),
        "age_seconds": round((datetime.now(UTC) - born).total_seconds()),
    }
