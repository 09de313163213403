"""`ktrain tune`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ktrain.cli.common import Context, Format, JobFile, Namespace, Output, Sets, program, say, show
from ktrain.errors import SpecError
from ktrain.load import Loaded, load_job
from ktrain.names import CliExit

if TYPE_CHECKING:
    from ktrain.tune.work import Jobs


def command(
    job: JobFile,
    study: Annotated[
        str | None, typer.Option("--study", help="Name of the study, and of its folder and jobs; none: the job's name.")
    ] = None,
    trials: Annotated[int | None, typer.Option("--trials", min=1, help="In place of spec.tune.trials.")] = None,
    parallel: Annotated[int | None, typer.Option("--parallel", min=1, help="In place of spec.tune.parallel.")] = None,
    cluster: Annotated[
        bool, typer.Option("--cluster", help="Trials are jobs of the cluster, and go on when this command ends.")
    ] = False,
    namespace: Namespace = None,
    context: Context = None,
    sets: Sets = None,
    output: Output = Format.text,
) -> int:
    """Search for the best values of spec.tune.space: each trial is a job of its own. The same command goes on.

    Ctrl-C lets the running trials save, and the next call goes on with them; once more ends them at once.
    """
    from ktrain.tune import tune_told
    from ktrain.tune.attended import attend
    from ktrain.tune.draw import check
    from ktrain.tune.drive import TICK
    from ktrain.tune.folder import held, study_folder
    from ktrain.tune.here import here
    from ktrain.tune.study import open_study
    from ktrain.tune.table import print_table

    loaded = load_job(job, [*(sets or ()), *_asked(trials, parallel), *([f"metadata.name={study}"] if study else [])])
    tune = loaded.job.spec.tune
    if tune is None:
        raise SpecError(
            f"{job} has no spec.tune; write what to search for there: tune: {{space: {{trainer.optim.lr: …}}}}"
        )
    folder = study_folder(loaded)
    to = check(folder / "study.png")
    with held(folder):
        it = open_study(folder / "journal.log", tune, loaded.job.metadata.name, base=_base(loaded), tell=say)
        jobs = _there(job, sets or (), namespace, context) if cluster else here(loaded, sets or (), folder)
        stopped = attend(it, jobs, tune.parallel, say, tick=5.0 if cluster else TICK)
        path = tune_told.picture(to, it)
    if output is Format.text:
        print_table(*tune_told.table(it), left=2)
        say(f"wrote {path}")
    else:
        show({**tune_told.document(it), "picture": str(path)}, output)
    if stopped is not None:
        say("stopped; the same command goes on")
        return stopped
    if it.best is None:
        say("no trial came to its end: mend the job, and begin another study with --study")
        return CliExit.JOB_FAILED
    say(f"next: {tune_told.command_of_best(it, program(), str(job), sets or ())}")
    return CliExit.OK


def _there(job: Path, sets: Sequence[str], namespace: str | None, context: str | None) -> "Jobs":
    from ktrain.cluster import Cluster
    from ktrain.tune.there import There

    return There(Cluster.connect(context=context), job, sets, namespace)


def _asked(trials: int | None, parallel: int | None) -> list[str]:
    given = {"trials": trials, "parallel": parallel}
    return [f"tune.{key}={value}" for key, value in given.items() if value is not None]


def _base(loaded: Loaded) -> dict[str, object]:
    """The job that all trials have in common."""
    return loaded.job.model_dump(mode="json", by_alias=True)
