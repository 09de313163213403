"""`ktrain list`."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ktrain.cli.common import Context, Format, Namespace, Output, say, show
from ktrain.names import ANNOTATION_ATTEMPT, MANAGED_BY, CliExit
from ktrain.units import counted

if TYPE_CHECKING:
    from ktrain.cluster import Cluster
    from ktrain.jobs.workload import Workload


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
    jobs = list(cluster.list(JOB, where, labels=f"{MANAGED_BY}=ktrain"))
    workloads = _workloads(cluster, jobs)
    rows = [_row(job, workloads.get(job["metadata"]["uid"])) for job in jobs]
    if output is not Format.text:
        show(rows, output)
    elif not rows:
        say(f"there is no job in {f'namespace {where}' if where else 'any namespace'}; `ktrain submit` makes one")
    for row in rows if output is Format.text else ():
        age = progress.length(row["age_seconds"])
        typer.echo(
            f"{row['namespace']:<20} {row['name']:<32} {row['state']:<10} {counted(row['nodes'], 'node'):<9} attempt {row['attempt']}  {age}"
            + (f"  {row['reason']}" if row["reason"] else "")
        )
    return CliExit.OK


def _workloads(cluster: "Cluster", jobs: list[dict[str, Any]]) -> "dict[str, Workload]":
    """By the uid of the job that Kueue may be holding back."""
    from ktrain.errors import ClusterError
    from ktrain.jobs.workload import held_by

    try:
        return held_by(cluster, jobs)
    except ClusterError as error:
        say(f"note: not asked: Workloads: {error}")
        return {}


def _row(job: dict[str, Any], workload: "Workload | None") -> dict[str, Any]:
    me = job["metadata"]
    born = datetime.fromisoformat(me["creationTimestamp"].replace("Z", "+00:00"))
    from ktrain.status.word import reason, word

    return {
        "namespace": me["namespace"],
        "name": me["name"],
        "state": word(job, workload),
        "nodes": job["spec"]["pytorchReplicaSpecs"]["Worker"].get("replicas", 1),
        "attempt": int(me.get("annotations", {}).get(ANNOTATION_ATTEMPT, "1")),
        "reason": reason(job, workload),
        "age_seconds": round((datetime.now(UTC) - born).total_seconds()),
    }
