"""`ktrain data …`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from ktrain.cli.common import Format, JobFile, Output, Sets, say, show
from ktrain.names import CliExit
from ktrain.units import counted

group = typer.Typer(no_args_is_help=True, context_settings={"help_option_names": ["-h", "--help"]})


class Split(StrEnum):
    """Of a job's data."""

    train = "train"
    val = "val"
    test = "test"


@group.command("show")
def show_(
    job: JobFile,
    n: Annotated[int, typer.Option("--n", min=1, max=1000, help="How many samples.")] = 5,
    split: Annotated[Split, typer.Option("--split", help="Of which data.")] = Split.train,
    sets: Sets = None,
    output: Output = Format.text,
) -> int:
    """Print samples as they go into batches: shapes, types, ranges, labels, texts. Needs torch."""
    from ktrain.cli.ask import ask
    from ktrain.load import load_job

    found = ask(load_job(job, sets or ()), "ktrain_trainer.show_data", "show", str(n), split)
    if output is not Format.text:
        show(found, output)
        return CliExit.OK
    say(f"{split}: {'a stream' if found['samples'] is None else format(found['samples'], ',') + ' samples'}")
    for sample in found["shown"]:
        typer.echo(f"{sample['place']}")
        for name, value in sample["parts"].items():
            typer.echo(f"  {name or 'sample':<16} {value}")
    if found["labels"]:
        typer.echo("labels")
        for label, count in found["labels"].items():
            typer.echo(f"  {label:<16} {count:>10,}  {count / found['samples']:6.1%}")
    return CliExit.OK


@group.command()
def prepare(
    job: JobFile,
    out: Annotated[Path, typer.Option("--out", help="Folder for the files.")],
    rows: Annotated[int, typer.Option("--rows", min=1, max=10_000_000, help="Samples a file.")] = 50_000,
    transform: Annotated[
        bool, typer.Option("--transform", help="Write samples as their transforms leave them.")
    ] = False,
    sets: Sets = None,
    output: Output = Format.text,
) -> int:
    """Write the samples of all splits into Parquet files, once; what an earlier call has written is kept. Needs torch."""
    from ktrain.cli.ask import ask
    from ktrain.load import load_job

    args = ("prepare", str(out.absolute()), str(rows), *(["transform"] if transform else []))
    found: dict[str, Any] = ask(load_job(job, sets or ()), "ktrain_trainer.show_data", *args)
    if output is not Format.text:
        show(found, output)
        return CliExit.OK
    for split, part in found["splits"].items():
        say(f"{out / split}: {counted(part['samples'], 'sample')} in {counted(len(part['files']), 'file')}")
    say(f"use them with data.train: {{source: parquet, path: {out}/train/*.parquet}}")
    return CliExit.OK
