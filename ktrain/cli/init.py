"""`ktrain init`."""

import re
import shlex
from pathlib import Path
from typing import Annotated

import typer

from ktrain.cli.common import program, say
from ktrain.errors import Conflict, SpecError
from ktrain.names import CliExit
from ktrain.templates import TEMPLATES, Template


def command(
    folder: Annotated[Path, typer.Argument(help="Where to write; made if it is not there.")] = Path(),
    template: Annotated[
        str, typer.Option("--template", "-t", help="minimal or script.", autocompletion=lambda: list(TEMPLATES))
    ] = "minimal",
    force: Annotated[bool, typer.Option("--force", help="Overwrite files that are there.")] = False,
) -> int:
    """Write a job file that works at once, with the code it needs."""
    if template not in TEMPLATES:
        raise typer.BadParameter(f"there is no template {template!r}; there are {', '.join(TEMPLATES)}")
    written = write(TEMPLATES[template], folder, force=force)
    for path in written:
        say(f"wrote {path}")
    here = "" if folder == Path() else f"cd {shlex.quote(str(folder))} && "
    say(f"next: {here}{program()} run job.yaml")
    return CliExit.OK


def write(template: Template, folder: Path, *, force: bool) -> list[Path]:
    """All files or none; Conflict names one that is already there."""
    paths = [folder / file for file in template.files]
    taken = [path for path in paths if path.exists()]
    if taken and not force:
        raise Conflict(f"{taken[0]} is already there; choose another folder, or overwrite it with --force")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for file, path in zip(template.files, paths, strict=True):
            path.write_text(template.read(file, job=_name(folder)), encoding="utf-8")
    except OSError as error:
        raise SpecError(f"{folder} cannot be written: {error.strerror}; choose another folder") from error
    return paths


def _name(folder: Path) -> str:
    name = re.sub(r"[^a-z0-9]+", "-", folder.resolve().name.lower()).strip("-")[:40].strip("-")
    return name if name and name[0].isalpha() else f"job-{name}".strip("-")
