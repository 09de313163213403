"""`ktrain lr-find`."""

import glob
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ktrain.cli.common import Format, JobFile, Output, Sets, program, say, show
from ktrain.errors import SpecError
from ktrain.load import load_job
from ktrain.names import CliExit

if TYPE_CHECKING:
    from ktrain.tune.sweep import Sweep

ROWS = 12


def command(
    job: JobFile,
    begin: Annotated[float, typer.Option("--from", help="The first learning rate.")] = 1e-7,
    end: Annotated[float, typer.Option("--to", help="The last learning rate.")] = 10.0,
    steps: Annotated[int, typer.Option("--steps", min=20, max=100_000, help="Optimizer steps between them.")] = 100,
    smooth: Annotated[float, typer.Option("--smooth", min=0, max=0.999, help="Of the loss: 0 is not at all.")] = 0.8,
    nodes: Annotated[int | None, typer.Option("--nodes", min=1, help="Launchers, in place of spec.nodes.")] = None,
    procs: Annotated[
        int | None, typer.Option("--procs", min=1, help="Ranks per launcher, in place of spec.procsPerNode.")
    ] = None,
    picture: Annotated[Path, typer.Option("--picture", help="The picture to write.")] = Path("lr-find.png"),
    sets: Sets = None,
    output: Output = Format.text,
) -> int:
    """Raise the learning rate from step to step and watch the loss: where it falls most steeply is a good rate.

    It trains in a folder of its own that is removed, and never touches the job's runs.
    """
    from ktrain.local.mapping import Machine, adapt
    from ktrain.local.view import open_view
    from ktrain.tune.draw import check
    from ktrain.tune.lr_find import Range, load_sweep, run_sweep, scratch

    if not 0 < begin < end:
        raise typer.BadParameter(
            f"--from is {begin:g} and --to is {end:g}; the first must be more than 0 and less than the last"
        )
    check(picture)
    if load_job(job, sets or ()).job.spec.trainer is None:
        raise SpecError(f"{job} has a script of its own, whose learning rate ktrain does not set")
    swept = Range(begin, end, steps)
    with scratch() as folder:
        loaded = load_sweep(job, sets or (), swept, folder)
        machine = Machine(gpus=len(glob.glob("/dev/nvidia[0-9]*")), cores=os.cpu_count() or 1)  # noqa: PTH207
        mapped = adapt(loaded.job, machine, nodes=nodes, procs=procs)
        view = open_view(f"{loaded.job.metadata.name} · learning rates", quiet=output is not Format.text)
        found = run_sweep(loaded, mapped, swept, view, smooth=smooth)
    if found.is_interrupted:
        say("stopped before the sweep was over; nothing is left of it")
        return CliExit.INTERRUPTED
    return _tell(found.sweep, job, picture, output)


def _tell(sweep: "Sweep", job: Path, picture: Path, output: Format) -> int:
    from ktrain.tune.sweep_picture import draw_sweep
    from ktrain.tune.table import print_table

    path = draw_sweep(picture, sweep)
    if output is not Format.text:
        show({**_document(sweep), "picture": str(path)}, output)
        return CliExit.OK
    shown = sweep.points[:: max(1, len(sweep.points) // ROWS)]
    print_table(
        ["learning rate", "loss", "smoothed"],
        [[f"{it.lr:.3g}", f"{it.loss:.5g}", f"{it.smoothed:.5g}"] for it in shown],
    )
    say(f"wrote {path}")
    say(
        "the loss did not break away"
        if sweep.diverged_at is None
        else f"the loss broke away at {sweep.diverged_at:.3g}"
    )
    if sweep.suggestion is None:
        say("it falls nowhere in this range: take a wider one, or more --steps")
    else:
        say(f"it falls most steeply at {sweep.suggestion:.2g}, which is the suggestion")
        say(f"next: {program()} run {job} --set trainer.optim.lr={sweep.suggestion:.2g}")
    return CliExit.OK


def _document(sweep: "Sweep") -> dict[str, Any]:
    return {
        "suggestion": sweep.suggestion,
        "how": "steepest fall of the smoothed loss over the logarithm of the rate",
        "diverged_at": sweep.diverged_at,
        "points": [{"lr": it.lr, "loss": it.loss, "smoothed": it.smoothed} for it in sweep.points],
    }
