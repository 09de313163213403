"""What commands share: the job-file argument, --set, and how data is printed."""

import json
import shlex
import shutil
import sys
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


def complete_key(begun: str) -> list[str]:
    """For the shell: the keys below what is typed already, a section with a dot and a value with an equals sign."""
    from ktrain.load.shape import keys_at

    *path, start = begun.split(".")
    above = "".join(f"{part}." for part in path)
    where = path if path[:1] in (["metadata"], ["spec"]) else ["spec", *path]
    return [f"{above}{key}{'.' if keys_at([*where, key]) else '='}" for key in keys_at(where) if key.startswith(start)]


Sets = Annotated[
    list[str] | None,
    typer.Option(
        "--set", metavar="KEY=VALUE", help="Change a key: --set trainer.optim.lr=0.01. Repeat for more.",
        autocompletion=complete_key,
    ),
]  # fmt: skip
Namespace = Annotated[str | None, typer.Option("--namespace", "-n", help="In place of the file's or the context's.")]
Context = Annotated[str | None, typer.Option("--context", help="Of the kubeconfig, in place of its current one.")]
JobName = Annotated[str, typer.Argument(metavar="JOB", help="Name of the job in the cluster.")]
Timeout = Annotated[str, typer.Option("--timeout", metavar="TIME", help="How long to wait, such as 90s or 10m.")]
GpuPrice = Annotated[
    float | None, typer.Option("--gpu-price", min=0, metavar="PRICE", help="Of one GPU for one hour: tells the cost.")
]
Output = Annotated[Format, typer.Option("--output", "-o", help="How to print.")]


def program() -> str:
    """How to call this program again, for the commands that it proposes."""
    called = Path(sys.argv[0])
    if called.name == "kubectl-ktrain":
        return "kubectl ktrain"
    if shutil.which("ktrain"):
        return "ktrain"
    return (
        shlex.quote(str(called.absolute())) if called.name == "ktrain" else f"{shlex.quote(sys.executable)} -m ktrain"
    )


def show(data: Any, form: Format) -> None:
    """Data on stdout, as JSON or YAML."""
    if form is Format.json:
        typer.echo(json.dumps(data, indent=2))
    else:
        typer.echo(yaml.dump(data, sort_keys=False, allow_unicode=True, Dumper=Plain), nl=False)


def seconds(text: str, option: str = "--timeout") -> float:
    """Of a length of time as a user writes it; a usage error when it is none."""
    from ktrain.units import parse_time

    try:
        return parse_time(text).total_seconds()
    except ValueError as error:
        raise typer.BadParameter(f"{option}: {error}") from None


def say(text: str) -> None:
    """For people, on stderr."""
    typer.echo(text, err=True)


def confirmed(question: str, instead: str) -> bool:
    """Whether who sits there says yes; a usage error, with what to say instead, where nobody does."""
    if not sys.stdin.isatty():
        raise typer.BadParameter(f"there is no terminal to ask on; {instead}")
    return typer.confirm(question, err=True)


class Plain(yaml.SafeDumper):
    """Writes every value out: anchors help no reader."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002
        return True
