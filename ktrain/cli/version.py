"""`ktrain version`."""

import typer

from ktrain import __version__


def command() -> None:
    """Print the version."""
    typer.echo(f"ktrain {__version__}")
