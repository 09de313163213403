"""`ktrain kfold`."""

from pathlib import Path
from typing import Annotated

import typer

from ktrain.cli.common import Format, JobFile, Output, Sets, say, show
from ktrain.cli.compare import At
from ktrain.errors import KtrainError
from ktrain.load import load_job
from ktrain.names import CliExit


def command(
    job: JobFile,
    k: Annotated[int, typer.Option("--k", min=2, max=1000, help="Parts; each is held back once.")] = 5,
    stratify_by: Annotated[
        str | None, typer.Option("--stratify-by", metavar="COLUMN", help="Each part has the same shares of its values.")
    ] = None,
    group_by: Annotated[
        str | None, typer.Option("--group-by", metavar="COLUMN", help="Samples with the same value stay together.")
    ] = None,
    into: Annotated[
        list[str] | None,
        typer.Option(
            "--into",
            metavar="KEY",
            help="Section that gets k and index, such as trainer.data.val.args; repeat for more.",
        ),
    ] = None,
    metric: Annotated[str, typer.Option("--metric", help="Of the picture.")] = "val/loss",
    at: Annotated[At, typer.Option("--at", help="The value at the last evaluation, or at the best.")] = At.last,
    parallel: Annotated[int, typer.Option("--parallel", min=1, help="Folds that train at once.")] = 1,
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin new runs beside those that are there.")] = False,
    to: Annotated[
        Path | None, typer.Option("--to", help="The picture to write; none: studies/<job>-kfold/kfold.png.")
    ] = None,
    sets: Sets = None,
    output: Output = Format.text,
) -> int:
    """Train once for each of k parts with that part held back: mean and spread of what a job reaches.

    Ctrl-C lets all save; the same command goes on, and folds that are done stay as they are.
    """
    from ktrain.tune import folds as told
    from ktrain.tune.attended import attend
    from ktrain.tune.draw import check
    from ktrain.tune.folder import held, study_folder
    from ktrain.tune.here import here
    from ktrain.tune.table import print_table

    base = load_job(job, sets or ())
    name = base.job.metadata.name
    folder = study_folder(base, kind="-kfold")
    path = check(to or folder / "kfold.png")
    if into and (stratify_by or group_by):
        raise typer.BadParameter(
            "--into: the datasets make the folds, so that --stratify-by and --group-by mean nothing"
        )
    folds = told.make_folds(name, k, into=into or (), stratify_by=stratify_by, group_by=group_by, fresh=fresh, tell=say)
    load_job(job, [*(sets or ()), *folds.folds[0].work.sets])  # a mistake is told once, and before anything starts
    with held(folder):
        stopped = attend(folds, here(base, sets or (), folder), parallel, say)
    if folds.metrics and metric not in folds.metrics:
        raise KtrainError(f"the folds have no metric {metric!r}; they have {', '.join(folds.metrics)}")
    written = told.picture(path, folds, metric, at.value) if folds.metrics else None
    if output is Format.text:
        print_table(*told.table(folds, at.value), left=2)
        if written:
            say(f"wrote {written}")
    else:
        show({**told.document(folds, at.value), "picture": str(written or "")}, output)
    if stopped is not None:
        say("stopped; the same command goes on")
        return stopped
    return CliExit.OK if folds.is_done else CliExit.JOB_FAILED
