"""The table of commands. Only the one that is asked for is imported: `--help` must not wait for pydantic or torch."""

import importlib
import os
from typing import Final

import typer

from ktrain.names import CliExit

COMMANDS: Final = {
    "init": "Write a job file that works at once, with the code it needs.",
    "validate": "Check a job file; --deep also imports and builds what it names.",
    "data": "Show samples of a job as they are trained on, or write them into Parquet files once.",
    "lint": "Warn of what is valid but will hurt.",
    "render": "Print exactly the objects that submit would send.",
    "schema": "Print the JSON Schema of job files, for editors.",
    "run": "Run a job here, without a cluster.",
    "submit": "Create the job in a cluster.",
    "status": "Say how a job in the cluster is, and why it does not run.",
    "logs": "Print what all ranks of a job in the cluster wrote, in order.",
    "events": "Print what the cluster noted about a job, the oldest first.",
    "list": "List the jobs in the cluster.",
    "top": "Show how all jobs train, or the ranks of one, as it changes.",
    "stacks": "Print where each rank of a running job stands.",
    "profile": "Record a few steps of a running job: where its time and memory go.",
    "suspend": "Save, then take a job's pods away until it is resumed.",
    "resume": "Give a suspended job its pods again, on as many nodes or on others.",
    "scale": "Give a running elastic job another number of nodes.",
    "cancel": "Save, then end a job; it is kept for a look, its run for going on.",
    "delete": "Delete a job from the cluster; its run is kept.",
    "diff": "Say what a changed job file would change, and what it takes.",
    "checkpoints": "List, verify, export and prune checkpoints, or make one now.",
    "doctor": "Check everything that a job needs: cluster, rights, storage.",
    "eval": "Evaluate a checkpoint here: metrics as a table, predictions as Parquet.",
    "chaos": "Train a job here under faults that a seed chooses, and check that nothing is lost.",
    "report": "Write an HTML page about a run: curves, attempts, where the time went.",
    "tune": "Search for the best values of some keys: each trial is a job.",
    "lr-find": "Raise the learning rate step by step, and say where the loss falls most steeply.",
    "kfold": "Train once for each of k parts with that part held back.",
    "compare": "Compare runs by a metric: paired tests over seeds or folds.",
    "version": "Print the version.",
}


def run(args: list[str]) -> int:
    """Runs the command line; returns its exit code."""
    asked = next((arg for arg in args if not arg.startswith("-")), None)
    app = build(asked if asked in COMMANDS else None)
    try:
        code = app(args=args or ["--help"], prog_name="ktrain", standalone_mode=False)
    except typer.TyperException as error:
        typer.echo(f"error: {_sentence(error)}", err=True)
        typer.echo(f"usage: ktrain {asked} --help" if asked in COMMANDS else "usage: ktrain --help", err=True)
        return CliExit.USAGE
    except typer.Abort:
        return CliExit.INTERRUPTED
    return code if isinstance(code, int) else CliExit.OK


def _sentence(error: typer.TyperException) -> str:
    told = getattr(error, "format_message", None)
    return str(told() if told else error)


def build(asked: str | None) -> typer.Typer:
    """The app with one real command; the others are there by name and help."""
    app = typer.Typer(
        help="One job.yaml becomes a distributed PyTorch job that survives whatever happens to its pods.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    app.callback()(_options)
    completing = any(name.startswith("_") and name.endswith("_COMPLETE") for name in os.environ)
    for name, text in COMMANDS.items():
        _add(app, name, text, is_wanted=completing or name == asked)
    return app


def _add(app: typer.Typer, name: str, text: str, *, is_wanted: bool) -> None:
    """A module of ktrain.cli has a `command`, or a `group` of several."""
    if not is_wanted:
        app.command(name, help=text)(_nothing)
        return
    module = importlib.import_module(f"ktrain.cli.{name.replace('-', '_')}")
    if hasattr(module, "group"):
        app.add_typer(module.group, name=name, help=text)
    else:
        app.command(name, help=text)(module.command)


def _nothing() -> None:
    """Stands for a command that was not asked for."""


def _options(
    version: bool = typer.Option(False, "--version", help="Print the version and exit."),
) -> None:
    if version:
        from ktrain import __version__

        typer.echo(f"ktrain {__version__}")
        raise typer.Exit
