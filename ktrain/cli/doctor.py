"""`ktrain doctor`."""

import dataclasses
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ktrain.cli.common import Context, Format, Namespace, Output, Sets, show
from ktrain.names import CliExit

if TYPE_CHECKING:
    from ktrain.cluster import Cluster
    from ktrain.doctor.check import Check
    from ktrain.load import Loaded

MARKS = {"ok": "✓", "warn": "!", "fail": "✗", "unknown": "?"}


def command(
    job: Annotated[Path | None, typer.Argument(metavar="[JOB.YAML]", help="Also check what this job needs.")] = None,
    namespace: Namespace = None,
    context: Context = None,
    sets: Sets = None,
    output: Output = Format.text,
) -> int:
    """Check the cluster, your rights in it, and with a job file its objects, pods, accelerators, storage and code.

    Changes nothing but one small object in the job's storage, which it removes. Exits 1 when something would fail.
    """
    from ktrain.cluster import Cluster
    from ktrain.submit.load import load_for

    cluster = Cluster.connect(context=context)
    loaded = load_for(job, sets or (), namespace, cluster.namespace) if job else None
    where = loaded.job.metadata.namespace if loaded else namespace or cluster.namespace
    found = []
    for check in _checks(cluster, where, loaded):
        found.append(check)
        if output is Format.text:
            typer.echo(f"{MARKS[check.verdict]} {check.name:<13} {check.told}")
    if output is not Format.text:
        show([dataclasses.asdict(check) | {"verdict": str(check.verdict)} for check in found], output)
    return CliExit.FAILED if any(check.verdict == "fail" for check in found) else CliExit.OK


def _checks(cluster: "Cluster", where: str, loaded: "Loaded | None") -> "Iterator[Check]":
    from ktrain.doctor import job as of_job
    from ktrain.doctor import place
    from ktrain.doctor.check import Verdict, guarded
    from ktrain.doctor.rights import rights

    yield from place.answers(cluster)  # without an answer nothing else has a meaning
    fail, unknown = Verdict.FAIL, Verdict.UNKNOWN
    yield from guarded("operator", partial(place.operator, cluster), otherwise=unknown)
    yield from guarded("namespace", partial(place.namespace, cluster, where), otherwise=unknown)
    yield from guarded("rights", partial(rights, cluster, where), otherwise=unknown)
    if loaded is not None:
        yield from guarded("objects", partial(of_job.needed_objects, cluster, loaded.job), otherwise=unknown)
        yield from guarded("pods", partial(of_job.pods, cluster, loaded.job), otherwise=fail)
        yield from guarded("accelerators", partial(of_job.gpus, cluster, loaded.job), otherwise=unknown)
        yield from guarded("storage", partial(of_job.storage, cluster, loaded), otherwise=fail)
        yield from guarded("code", partial(of_job.code, loaded), otherwise=fail)
