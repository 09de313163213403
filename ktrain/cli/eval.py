"""`ktrain eval`."""

import json
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ktrain import errors, names
from ktrain.cli.common import Format, Output, Sets, say, show
from ktrain.errors import BuildError, KtrainError, MissingError, NotFound, SpecError
from ktrain.names import CliExit
from ktrain.units import counted

if TYPE_CHECKING:
    from ktrain.history import Commit
    from ktrain.storage import Storage


class Split(StrEnum):
    """Which of the job's data."""

    val = "val"
    test = "test"


def command(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A job file, or the folder or URL of a job or run.")],
    checkpoint: Annotated[
        str, typer.Option("--checkpoint", metavar="best|last|STEP", help="Which checkpoint's weights.")
    ] = "last",
    split: Annotated[Split, typer.Option("--split", help="Which of the job's data.")] = Split.val,
    out: Annotated[Path, typer.Option("--out", help="Folder for metrics.json and the predictions.")] = Path("eval"),
    code: Annotated[
        Path | None, typer.Option("--code", help="Folder of the job's code; the job file's, or the current one.")
    ] = None,
    sets: Sets = None,
    output: Output = Format.text,
) -> int:
    """Evaluate a checkpoint here, on one rank: metrics as a table, predictions as Parquet. Changes nothing of the run."""
    from ktrain.named import find_run

    storage, name = find_run(run, sets or ())
    job, folder = _job(run, storage, sets)
    commit = _commit(storage, checkpoint, job)
    request = {
        "job": job, "url": storage.url, "step": commit.step, "split": split.value, "out": str(out.resolve()),
    }  # fmt: skip
    found = {"run": name, **_ask(request, code or folder)}
    if output is not Format.text:
        show(found, output)
        return CliExit.OK
    say(f"run {name[:8]}, checkpoint of step {commit.step}, {counted(found['samples'], 'sample')} of {split.value}")
    width = max(len(it) for it in found["metrics"])
    for metric, value in sorted(found["metrics"].items()):
        typer.echo(f"{metric:<{width}}  {value:.6g}")
    say(f"wrote {out}/metrics.json and {found['predictions']}")
    return CliExit.OK


def _job(source: str, storage: "Storage", sets: list[str] | None) -> tuple[dict[str, Any], Path]:
    """The job file as it is now, when one is named; otherwise what the run began with. With the folder of its code."""
    from ktrain.load import load_job

    if "://" not in source and Path(source).is_file():
        loaded = load_job(Path(source), sets or ())
        return loaded.job.model_dump(mode="json", by_alias=True), loaded.code_dir
    if sets:
        raise SpecError("--set changes a job file, and a run's folder was named; name the job file in its place")
    document: dict[str, Any] = json.loads(storage.get(names.KEY_SPEC)[0])
    return document, Path.cwd()


def _commit(storage: "Storage", asked: str, job: dict[str, Any]) -> "Commit":
    from ktrain.history import read_head

    head = read_head(storage)
    commits = head.commits if head else ()
    if not commits:
        raise NotFound(f"{storage.url} has no checkpoint yet")
    if asked == "last":
        return commits[-1]
    if asked == "best":
        return _best(commits, job)
    found = [it for it in commits if str(it.step) == asked]
    if not found:
        steps = ", ".join(str(it.step) for it in commits)
        raise MissingError(f"{storage.url} has no checkpoint {asked!r}; there are best, last, and the steps {steps}")
    return found[0]


def _best(commits: "tuple[Commit, ...]", job: dict[str, Any]) -> "Commit":
    scored = [it for it in commits if it.metric is not None]
    if not scored:
        raise MissingError(
            "no checkpoint of this run is among the best by a metric; set trainer.checkpoint.best, or take last"
        )
    best = ((job["spec"].get("trainer") or {}).get("checkpoint") or {}).get("best") or {}
    sign = -1.0 if best.get("mode") == "max" else 1.0
    return min(scored, key=lambda it: sign * (it.metric or 0.0))


def _ask(request: dict[str, Any], folder: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "ktrain_trainer.evaluate_run"],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
    )
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        raise BuildError(
            f"the job's code ended the evaluation (exit {done.returncode}):\n{done.stderr.strip()}"
        ) from None
    if "error" in answer:
        kind = getattr(errors, answer["kind"], BuildError)
        raise kind(answer["error"]) if issubclass(kind, KtrainError) else BuildError(answer["error"])
    return answer
