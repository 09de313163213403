"""`ktrain events`."""

from typing import Any

import typer

from ktrain.cli.common import Context, Format, JobName, Namespace, Output, say, show
from ktrain.names import CliExit


def command(
    name: JobName,
    namespace: Namespace = None,
    context: Context = None,
    output: Output = Format.text,
) -> int:
    """Print what the cluster noted about the job and its pods, the oldest first."""
    from ktrain.jobs.find import reach_job
    from ktrain.status.events import events

    cluster, where, _ = reach_job(name, namespace=namespace, context=context)
    found = [_row(event) for event in events(cluster, where, name)]
    if output is not Format.text:
        show(found, output)
    elif not found:
        say(f"the cluster has noted nothing about job {name}, or has forgotten it (it keeps events for an hour)")
    for row in found if output is Format.text else ():
        times = f" (x{row['count']})" if row["count"] > 1 else ""
        typer.echo(f"{row['time']}  {row['type']:<8} {row['object']:<40} {row['reason']:<22} {row['message']}{times}")
    return CliExit.OK


def _row(event: dict[str, Any]) -> dict[str, Any]:
    from ktrain.status.events import time_of

    about = event["involvedObject"]
    return {
        "time": time_of(event).partition(".")[0].rstrip("Z") + "Z",
        "type": event.get("type", ""),
        "object": f"{about['kind']}/{about['name']}",
        "reason": event.get("reason", ""),
        "message": " ".join(str(event.get("message", "")).split()),
        "count": event.get("count") or event.get("series", {}).get("count") or 1,
    }
