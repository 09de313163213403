"""What commands share: the job-file argument, --set, and how data is printed."""

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
import yaml


class Format(StrEnum):
    """How data is printed."""

    text = "text"
    json = "json"
    yaml = "yaml"


JobFile = Annotated[Path, typer.Argument(metavar="JOB.YAML", help="The job file.")]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Change a key: --set trainer.optim.lr=0.01. Repeat for more."),
]
Output = Annotated[Format, typer.Option("--output", "-o", help="How to print.")]


def show(data: Any, form: Format) -> None:
    """Data on stdout, as JSON or YAML."""
    if form is Format.json:
        typer.echo(json.dumps(data, indent=2))
    else:
        typer.echo(yaml.dump(data, sort_keys=False, allow_unicode=True, Dumper=Plain), nl=False)


def say(text: str) -> None:
    """For people, on stderr."""
    typer.echo(text, err=True)


class Plain(yaml.SafeDumper):
    """Writes every value out: anchors help no reader."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True
