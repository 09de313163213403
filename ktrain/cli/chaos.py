"""`ktrain chaos`."""

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ktrain.chaos.trace import ABOUT, USUAL, Fault, Kind, trace
from ktrain.cli.common import Format, JobFile, Output, Sets, say, seconds, show
from ktrain.errors import SpecError
from ktrain.load import load_job
from ktrain.names import CliExit

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ktrain.chaos.local import Game

FAULTS = ", ".join(Kind)


def command(
    job: JobFile,
    seed: Annotated[int, typer.Option("--seed", help="The same seed, the same faults.")] = 0,
    count: Annotated[int, typer.Option("--count", min=1, help="How many faults.")] = 10,
    every: Annotated[str, typer.Option("--every", metavar="TIME", help="Mean time between two faults.")] = "30s",
    fault: Annotated[
        list[str] | None, typer.Option("--fault", metavar="KIND", help=f"Only these; repeat for more: {FAULTS}.")
    ] = None,
    twin: Annotated[
        bool, typer.Option("--twin/--no-twin", help="Train once more undisturbed, and compare bit for bit.")
    ] = True,
    plan: Annotated[bool, typer.Option("--plan", help="Only print the faults.")] = False,
    nodes: Annotated[int | None, typer.Option("--nodes", min=1, help="Launchers, in place of spec.nodes.")] = None,
    procs: Annotated[
        int | None, typer.Option("--procs", min=1, help="Ranks per launcher, in place of spec.procsPerNode.")
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Lines instead of the live view.")] = False,
    sets: Sets = None,
    output: Output = Format.text,
) -> int:
    """Train a job here, in a temporary place, under faults that a seed chooses, and check what ktrain promises.

    That it ends; that no checkpoint is wrong or older than what was committed; that a notice costs no step; that each loss
    and every tensor is, bit for bit, the undisturbed run's (of an elastic job: nearly). Exit code 9 when one of these fails.
    """
    faults = trace(seed, count=count, mean_seconds=_positive(every), kinds=_kinds(fault))
    if plan:
        _print(faults, output)
        return CliExit.OK
    loaded = load_job(job, sets or ())
    from ktrain.chaos.local import Field, play
    from ktrain.local.mapping import Machine, adapt
    from ktrain.local.run import Interrupts
    from ktrain.local.view import open_view

    if loaded.job.spec.trainer is None:
        raise SpecError("ktrain chaos needs spec.trainer: of a script's own loop it cannot tell what a step is")
    mapped = adapt(loaded.job, Machine(gpus=0, cores=os.cpu_count() or 1), nodes=nodes, procs=procs)
    lines = quiet or output is not Format.text
    name = mapped.job.metadata.name
    interrupts = Interrupts()
    try:
        field = Field(mapped, loaded.folder, lambda what: open_view(f"{name} · {what}", quiet=lines), interrupts)
        game = play(field, faults, with_twin=twin)
    finally:
        interrupts.restore()
    return _tell(game, output)


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
        "recoveries": [{"kind": str(it.kind), "seconds": it.seconds, "lost": it.lost} for it in game.recoveries],
    }


def _print(faults: "Sequence[Fault]", output: Format) -> None:
    if output is not Format.text:
        told = [{"at": it.at, "kind": str(it.kind), "seconds": it.seconds} for it in faults]
        show(told, output)
        return
    for it in faults:
        typer.echo(f"{it.at:8.1f} s  {it.kind:<14}  {ABOUT[it.kind]}")


def _kinds(asked: list[str] | None) -> "Sequence[Kind]":
    try:
        return tuple(Kind(it) for it in asked) if asked else USUAL
    except ValueError as error:
        raise typer.BadParameter(f"--fault: {str(error).split(' is ')[0]} is no fault; there are {FAULTS}") from None


def _positive(text: str) -> float:
    found = seconds(text, "--every")
    if found <= 0:
        raise typer.BadParameter("--every: the time between two faults must be more than nothing")
    return found
