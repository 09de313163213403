"""JSON objects, one a line."""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ktrain.errors import DataError
from ktrain_trainer.datasets import files
from ktrain_trainer.datasets.lines import Lines
from ktrain_trainer.datasets.rows import Row


class Jsonl:
    """Read by byte offset; nothing but the index is kept."""

    columns: Mapping[str, str] = {}

    def __init__(self, path: str | Sequence[str], where: str) -> None:
        self._lines = Lines(files.files(path, where), where)

    def __len__(self) -> int:
        return len(self._lines)

    def read(self, indices: Sequence[int]) -> list[Row]:
        """Parses these lines."""
        return [self._row(index) for index in indices]

    def place(self, index: int) -> str:
        """file:line."""
        return self._lines.place(index)

    def identity(self, index: int) -> str:
        """File and offset."""
        return self._lines.identity(index)

    def values(self, column: str) -> list[Any]:
        """Parses all lines."""
        rows = self.read(range(len(self)))
        if not any(column in row for row in rows):
            raise KeyError(column)
        for index, row in enumerate(rows):
            if column not in row:
                raise DataError(f"{self.place(index)}: the row has no column {column!r}; it has {', '.join(row)}")
        return [row[column] for row in rows]

    def fingerprint(self) -> str:
        """Of the files."""
        return files.fingerprint(self._lines.paths)

    def _row(self, index: int) -> Row:
        return parse(self._lines[index], lambda: self.place(index))


def parse(line: bytes, place: Callable[[], str]) -> Row:
    """The object in a line; DataError names its place."""
    try:
        row = json.loads(line)
    except ValueError as error:  # also what is no UTF-8
        raise DataError(f"{place()}: this is no JSON: {error}") from None
    if not isinstance(row, dict):
        raise DataError(f"{place()}: expected a JSON object, but this is a {type(row).__name__}")
    return row
