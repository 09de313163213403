"""`ktrain report`."""

from pathlib import Path
from typing import Annotated

import typer

from ktrain.cli.common import Format, GpuPrice, Output, Sets, say, show
from ktrain.errors import StorageError
from ktrain.names import CliExit


def command(
    run: Annotated[str, typer.Argument(metavar="RUN", help="A job file, or the folder or URL of a job or run.")],
    to: Annotated[Path, typer.Option("--to", help="The file to write.")] = Path("report.html"),
    sets: Sets = None,
    price: GpuPrice = None,
    output: Output = Format.text,
) -> int:
    """Write an HTML page about a run: curves, attempts, where the time went."""
    from ktrain.report.page import numbers, page
    from ktrain.report.source import read

    told = read(run, sets or ())
    if output is not Format.text:
        show(numbers(told.records, told.head, told.spent, price), output)
        return CliExit.OK
    text = page(
        title=told.title,
        url=told.url,
        records=told.records,
        head=told.head,
        spec=told.spec,
        spent=told.spent,
        price=price,
    )
    try:
        to.write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"{to} cannot be written: {error.strerror}") from error
    say(f"wrote {to.resolve()}")
    return CliExit.OK
