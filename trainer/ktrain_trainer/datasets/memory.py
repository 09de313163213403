"""Rows that are held in memory: of formats that cannot be read from the middle."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ktrain.errors import DataError
from ktrain_trainer.datasets import files
from ktrain_trainer.datasets.rows import Row


@dataclass(frozen=True)
class InMemory:
    """rows and places: a list a file."""

    paths: Sequence[Path]
    rows: Sequence[Row]
    origins: Sequence[tuple[int, int]]  # number of the file, row in it as a person counts
    columns: Mapping[str, str] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.rows)

    def read(self, indices: Sequence[int]) -> list[Row]:
        """From memory."""
        return [self.rows[index] for index in indices]

    def place(self, index: int) -> str:
        """file:row."""
        file, row = self.origins[index]
        return f"{self.paths[file]}:{row}"

    def identity(self, index: int) -> str:
        """The file's name and the row in it."""
        file, row = self.origins[index]
        return f"{files.short_names(self.paths)[file]}\0{row}"

    def values(self, column: str) -> list[Any]:
        """From memory."""
        if not any(column in row for row in self.rows):
            raise KeyError(column)
        for index, row in enumerate(self.rows):
            if column not in row:
                raise DataError(f"{self.place(index)}: the row has no column {column!r}; it has {', '.join(row)}")
        return [row[column] for row in self.rows]

    def fingerprint(self) -> str:
        """Of the files."""
        return files.fingerprint(self.paths)
