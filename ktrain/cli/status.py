"""`ktrain status`."""

import dataclasses
import time
from typing import TYPE_CHECKING

import typer

from ktrain.cli.common import Context, Format, GpuPrice, JobName, Namespace, Output, say, show
from ktrain.names import ANNOTATION_ATTEMPT, CliExit
from ktrain.units import counted

if TYPE_CHECKING:
    from ktrain.status.observe import Facts
    from ktrain.status.why import State


def command(
    name: JobName,
    namespace: Namespace = None,
    context: Context = None,
    price: GpuPrice = None,
    output: Output = Format.text,
) -> int:
    """Say how a job is: where its pods are, how far it has come, and why it does not run. Exits 9 when it failed."""
    from ktrain.cluster import Cluster
    from ktrain.status.observe import observe
    from ktrain.status.time import spent_by
    from ktrain.status.why import state

    cluster = Cluster.connect(context=context)
    facts = observe(cluster, namespace or cluster.namespace, name)
    found = state(facts)
    first = facts.picture.first
    attempt = facts.job["metadata"].get("annotations", {}).get(ANNOTATION_ATTEMPT, "1")
    spent = spent_by(facts, cluster.server_time or time.time())
    if output is Format.text:
        _tell(name, found, facts, attempt)
        for line in spent.lines(price):
            typer.echo(f"  {line}")
    else:
        show({"name": name, "namespace": facts.job["metadata"]["namespace"], **dataclasses.asdict(found), "attempt": int(attempt),
              "epoch": facts.picture.epoch, "restarts": facts.picture.restarts, "rank0": first or None, "checkpoint": _checkpoint(facts),
              "goodput": spent.numbers(price)}, output)  # fmt: skip
    return CliExit.JOB_FAILED if found.what == "failed" else CliExit.OK


def _checkpoint(facts: "Facts") -> int | None:
    """Step of the newest commit; None before the first, or when it cannot be told."""
    told = facts.picture.first.get("checkpoint_step", -1)
    head = facts.kept.head
    if told >= 0:
        return int(told)
    return head.newest.step if head and head.newest else None


def _tell(name: str, found: "State", facts: "Facts", attempt: str) -> None:
    from ktrain import progress

    picture, saved = facts.picture, _checkpoint(facts)
    typer.echo(f"{name}: {found.what}" + (f": {found.why}" if found.why else ""))
    if picture.first:
        typer.echo(f"  {progress.line(picture, now=time.time())}")
        if saved is not None and (lost := int(picture.first["step"]) - saved) > 0:
            typer.echo(f"  not saved yet: {counted(lost, 'step')}")
    elif facts.kept.head:
        typer.echo(f"  {'nothing is saved yet' if saved is None else f'saved at step {saved}'}: {facts.kept.url}")
    typer.echo(f"  attempt {attempt}, epoch {picture.epoch or _epoch(facts)}, {len(found.pods)} of {found.wanted} pods")
    for pod in found.pods:
        typer.echo(f"  {pod.name:<32} {pod.what:<10} {pod.node}" + (f"  {pod.why}" if pod.why else ""))
    for line in facts.blind:
        say(f"note: not asked: {line}")


def _epoch(facts: "Facts") -> int:
    return facts.kept.head.epoch if facts.kept.head else 0
