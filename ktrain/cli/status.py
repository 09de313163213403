"""`ktrain status`."""

import dataclasses
import time
from typing import Annotated, Any

import typer

from ktrain.cli.common import Context, Format, Namespace, Output, say, show
from ktrain.names import ANNOTATION_ATTEMPT, CliExit


def command(
    name: Annotated[str, typer.Argument(metavar="JOB", help="Name of the job.")],
    namespace: Namespace = None,
    context: Context = None,
    output: Output = Format.text,
) -> int:
    """Say how a job is: where its pods are, how far it has come, and why it does not run. Exits 9 when it failed."""
    from ktrain.cluster import Cluster
    from ktrain.status.observe import observe
    from ktrain.status.why import state

    cluster = Cluster.connect(context=context)
    facts = observe(cluster, namespace or cluster.namespace, name)
    found = state(facts)
    first = facts.picture.first
    attempt = facts.job["metadata"].get("annotations", {}).get(ANNOTATION_ATTEMPT, "1")
    if output is Format.text:
        _tell(name, found, facts.picture, attempt, facts.blind)
    else:
        show({"name": name, "namespace": facts.job["metadata"]["namespace"], **dataclasses.asdict(found), "attempt": int(attempt),
              "epoch": facts.picture.epoch, "restarts": facts.picture.restarts, "rank0": first or None}, output)  # fmt: skip
    return CliExit.JOB_FAILED if found.what == "failed" else CliExit.OK


def _tell(name: str, found: Any, picture: Any, attempt: str, blind: tuple[str, ...]) -> None:
    from ktrain import progress

    typer.echo(f"{name}: {found.what}" + (f": {found.why}" if found.why else ""))
    if picture.first:
        typer.echo(f"  {progress.line(picture, now=time.time())}")
    typer.echo(f"  attempt {attempt}, epoch {picture.epoch}, {len(found.pods)} of {found.wanted} pods")
    for pod in found.pods:
        typer.echo(f"  {pod.name:<32} {pod.what:<10} {pod.node}" + (f"  {pod.why}" if pod.why else ""))
    for line in blind:
        say(f"note: not asked: {line}")
