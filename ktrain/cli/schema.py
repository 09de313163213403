"""`ktrain schema`."""

import typer

from ktrain import schema


def command() -> None:
    """Print the JSON Schema of job files."""
    typer.echo(schema.text(), nl=False)
