"""A table in the terminal, as other commands print theirs."""

import sys
from collections.abc import Sequence


def print_table(names: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 0) -> None:
    """On stdout; the first `left` columns hold words, the others numbers. As wide as it needs where it is no terminal."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for number, name in enumerate(names):
        table.add_column(Text(name), justify="left" if number < left else "right", no_wrap=True)
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    Console(width=None if sys.stdout.isatty() else 240, highlight=False).print(table)
