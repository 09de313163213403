"""`ktrain validate`."""

from typing import Annotated, Any

import typer

from ktrain.cli.ask import ask
from ktrain.cli.common import Format, JobFile, Output, Sets, say, show
from ktrain.load import Loaded, SpecErrors, load_job
from ktrain.names import CliExit


def command(
    job: JobFile,
    deep: Annotated[
        bool, typer.Option("--deep", help="Also import and build what the job names; needs torch.")
    ] = False,
    sets: Sets = None,
    output: Output = Format.text,
) -> int:
    """Check a job file; every mistake with its line."""
    try:
        loaded = load_job(job, sets or ())
        found = inspect(loaded) if deep else {}
    except SpecErrors as error:
        if output is Format.text:
            raise
        show({"valid": False, "problems": [problem.document() for problem in error.problems]}, output)
        return CliExit.SPEC
    if output is not Format.text:
        show({"valid": True, **found}, output)
        return CliExit.OK
    say(f"{job} is valid")
    for name, value in found.items():
        say(f"  {name:<22} {value}")
    return CliExit.OK


def inspect(loaded: Loaded) -> dict[str, Any]:
    """Imports and builds the job's parts in a process of their own; SpecErrors tell what does not work, and where."""
    return ask(loaded, "ktrain_trainer.inspect_job")
