"""`ktrain chaos`."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ktrain.chaos.trace import ABOUT, HERE_ONLY, ON_CLUSTER, USUAL, Fault, Kind, trace
from ktrain.cli.common import Context, Format, Namespace, Output, Sets, confirmed, say, seconds, show
from ktrain.errors import SpecError
from ktrain.load import load_job
from ktrain.names import CliExit
from ktrain.units import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ktrain.chaos.game import Game
    from ktrain.load import Loaded

FAULTS = ", ".join(Kind)


def command(
    job: Annotated[
        str, typer.Argument(metavar="JOB", help="A job file; with --cluster the name of a job that trains.")
    ],
    on_cluster: Annotated[
        bool, typer.Option("--cluster", help="Strike a job that trains on the cluster, in its real storage.")
    ] = False,
    seed: Annotated[int, typer.Option("--seed", help="The same seed, the same faults.")] = 0,
    count: Annotated[int, typer.Option("--count", min=1, help="How many faults.")] = 10,
    every: Annotated[str, typer.Option("--every", metavar="TIME", help="Mean time between two faults.")] = "30s",
    fault: Annotated[
        list[str] | None, typer.Option("--fault", metavar="KIND", help=f"Only these; repeat for more: {FAULTS}.")
    ] = None,
    twin: Annotated[
        bool, typer.Option("--twin/--no-twin", help="Here: train once more undisturbed, and compare bit for bit.")
    ] = True,
    plan: Annotated[bool, typer.Option("--plan", help="Only print the faults.")] = False,
    nodes: Annotated[
        int | None, typer.Option("--nodes", min=1, help="Here: launchers, in place of spec.nodes.")
    ] = None,
    procs: Annotated[
        int | None, typer.Option("--procs", min=1, help="Here: ranks per launcher, in place of spec.procsPerNode.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Lines instead of the live view.")] = False,
    sets: Sets = None,
    patience: Annotated[
        str,
        typer.Option("--patience", metavar="TIME", help="On a cluster: a job that makes no step for so long is lost."),
    ] = "10m",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="On a cluster: without asking.")] = False,
    namespace: Namespace = None,
    context: Context = None,
    output: Output = Format.text,
) -> int:
    """Train a job here, in a temporary place, under faults that a seed chooses, and check what ktrain promises.

    That it ends; that no checkpoint is wrong or older than what was committed; that a notice costs no step; that each loss
    and every tensor is, bit for bit, the undisturbed run's (of an elastic job: nearly). With --cluster the faults strike a
    job that trains there, and its pods, for a game day. Exit code 9 when one of the promises is not kept.
    """
    kinds = _kinds(fault, on_cluster=on_cluster)
    faults = trace(seed, count=count, mean_seconds=_positive(every), kinds=kinds)
    if plan:
        _print(faults, output)
        return CliExit.OK
    if on_cluster:
        return _on_cluster(job, faults, seconds(patience, "--patience"), namespace, context, output, is_sure=yes)
    loaded = load_job(Path(job), sets or ())
    return _here(loaded, faults, nodes, procs, output, with_twin=twin, is_quiet=quiet)


def _here(
    loaded: "Loaded", faults: "Sequence[Fault]", nodes: int | None, procs: int | None, output: Format, *,
    with_twin: bool, is_quiet: bool,
) -> int:  # fmt: skip
    from ktrain.chaos.local import Field, play
    from ktrain.local.mapping import Machine, adapt
    from ktrain.local.run import Interrupts
    from ktrain.local.view import open_view

    if loaded.job.spec.trainer is None:
        raise SpecError("ktrain chaos needs spec.trainer: of a script's own loop it cannot tell what a step is")
    mapped = adapt(loaded.job, Machine(gpus=0, cores=os.cpu_count() or 1), nodes=nodes, procs=procs)
    lines = is_quiet or output is not Format.text
    name = mapped.job.metadata.name
    interrupts = Interrupts()
    try:
        field = Field(mapped, loaded.folder, lambda what: open_view(f"{name} · {what}", quiet=lines), interrupts)
        game = play(field, faults, with_twin=with_twin)
    finally:
        interrupts.restore()
    return _tell(game, output)


def _on_cluster(
    name: str, faults: "Sequence[Fault]", patience: float, namespace: str | None, context: str | None, output: Format, *,
    is_sure: bool,
) -> int:  # fmt: skip
    from ktrain.chaos.judge import memory_every
    from ktrain.chaos.siege import Siege
    from ktrain.jobs.find import reach_job, spec_of
    from ktrain.jobs.pause import refuse_ended

    cluster, where, job = reach_job(name, namespace=namespace, context=context)
    refuse_ended(job)
    spec = spec_of(cluster, job)
    question = f"strike job {name} in namespace {where} of {cluster.name} with {counted(len(faults), 'fault')}?"
    if not (is_sure or confirmed(question, "say --yes or --plan")):
        return CliExit.OK
    siege = Siege(cluster, where, name, say, patience, memory_every(spec))
    return _tell(siege.play(faults), output)


def _tell(game: "Game", output: Format) -> int:
    for verdict in game.verdicts:
        say(verdict.line)
    if game.goodput:
        say(game.goodput)
    if output is not Format.text:
        show(_document(game), output)
    return game.code


def _document(game: "Game") -> dict[str, Any]:
    return {
        "exit": int(game.code),
        "goodput": game.ratio,
        "verdicts": [{"name": it.name, "ok": it.ok, "told": it.told} for it in game.verdicts],
        "faults": [{"kind": str(it.fault.kind), "time": it.at, "whom": it.whom, "step": it.step} for it in game.struck],
        "recoveries": [
            {"kind": str(it.kind), "seconds": it.seconds, "lost": it.lost, "parts": dict(it.parts)}
            for it in game.recoveries
        ],
    }


def _print(faults: "Sequence[Fault]", output: Format) -> None:
    if output is not Format.text:
        told = [{"at": it.at, "kind": str(it.kind), "seconds": it.seconds} for it in faults]
        show(told, output)
        return
    for it in faults:
        typer.echo(f"{it.at:8.1f} s  {it.kind:<14}  {ABOUT[it.kind]}")


def _kinds(asked: list[str] | None, *, on_cluster: bool) -> "Sequence[Kind]":
    try:
        kinds = tuple(Kind(it) for it in asked) if asked else (ON_CLUSTER if on_cluster else USUAL)
    except ValueError as error:
        raise typer.BadParameter(f"--fault: {str(error).split(' is ')[0]} is no fault; there are {FAULTS}") from None
    if on_cluster and (here := [it for it in kinds if it in HERE_ONLY]):
        raise typer.BadParameter(
            f"--fault: {here[0]} can only come without --cluster, where the job's requests are ours"
        )
    return kinds


def _positive(text: str) -> float:
    found = seconds(text, "--every")
    if found <= 0:
        raise typer.BadParameter("--every: the time between two faults must be more than nothing")
    return found
