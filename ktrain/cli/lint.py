"""`ktrain lint`."""

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from ktrain.cli.common import Format, Sets, say, show
from ktrain.lint import RULES, Finding, lint
from ktrain.load import load_job
from ktrain.names import CliExit


class Style(StrEnum):
    """How findings are printed."""

    text = "text"
    json = "json"
    github = "github"


def command(
    job: Annotated[Path | None, typer.Argument(metavar="JOB.YAML", help="The job file.")] = None,
    explain: Annotated[str | None, typer.Option("--explain", metavar="CODE", help="Say why a rule is there.")] = None,
    style: Annotated[Style, typer.Option("--format", help="How to print.")] = Style.text,
    sets: Sets = None,
) -> int:
    """Warn of what is valid but will hurt. Exits 3 when there are errors, 0 with warnings only."""
    if explain:
        typer.echo(_explained(explain))
        return CliExit.OK
    if job is None:
        raise typer.BadParameter("name a job file: ktrain lint job.yaml")
    findings = lint(load_job(job, sets or ()).job)
    if style is Style.json:
        show(
            [{"code": it.code, "level": it.level, "path": it.path, "message": it.message} for it in findings],
            Format.json,
        )
    else:
        for finding in findings:
            typer.echo(_line(finding, job, style))
        if not findings:
            say("nothing to warn of")
    return CliExit.SPEC if any(it.level == "error" for it in findings) else CliExit.OK


def _line(finding: Finding, job: Path, style: Style) -> str:
    if style is Style.github:
        return f"::{finding.level} file={job},title={finding.code}::{finding.path}: {finding.message}"
    return f"{finding.level} {finding.code} {finding.path}: {finding.message}"


def _explained(code: str) -> str:
    for rule in RULES:
        if rule.code == code.upper():
            return f"{rule.code} {rule.title} ({rule.level})\n{rule.why}"
    raise typer.BadParameter(f"there is no rule {code}; there are {RULES[0].code} to {RULES[-1].code}")
