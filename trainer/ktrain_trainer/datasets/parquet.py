"""Parquet files, read by row group; a few groups are kept."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ktrain.errors import DataError
from ktrain.extras import require
from ktrain_trainer.datasets import files
from ktrain_trainer.datasets.rows import Row


class Parquet:
    """cache: row groups that each process keeps decoded; a shuffled order reads best with small groups."""

    columns: Mapping[str, str] = {}

    def __init__(self, path: str | Sequence[str], where: str, *, cache: int = 8) -> None:
        if not isinstance(cache, int) or cache < 1:
            raise DataError(f"cache is {cache!r}; at least one row group is kept", f"{where}.args")
        require("pyarrow", "data", "source: parquet")
        self._paths = files.files(path, where)
        self._names = files.short_names(self._paths)
        self._cache = cache
        self._forget()
        self._groups: list[tuple[int, int]] = []  # (number of the file, group in it)
        sizes = []
        for number, it in enumerate(self._paths):
            metadata = self._file(number, where).metadata
            self._groups += [(number, group) for group in range(metadata.num_row_groups)]
            sizes += [metadata.row_group(group).num_rows for group in range(metadata.num_row_groups)]
            self._same_columns(number, it, where)
        self._ends = np.cumsum(sizes, dtype=np.int64)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_open": {}, "_kept": OrderedDict()}

    def read(self, indices: Sequence[int]) -> list[Row]:
        """Decodes a row group at most once, while it is kept."""
        return [self._row(index) for index in indices]

    def place(self, index: int) -> str:
        """file:row, counted from 1."""
        file, row = self._origin(index)
        return f"{self._paths[file]}:{row + 1}"

    def identity(self, index: int) -> str:
        """The file's name and the row in it."""
        file, row = self._origin(index)
        return f"{self._names[file]}\0{row}"

    def values(self, column: str) -> list[Any]:
        """Reads one column of all files."""
        if column not in self._file(0).schema_arrow.names:
            raise KeyError(column)
        return [
            value
            for number in range(len(self._paths))
            for value in self._file(number).read([column], use_threads=False).column(0).to_pylist()
        ]

    def fingerprint(self) -> str:
        """Of the files."""
        return files.fingerprint(self._paths)

    def _forget(self) -> None:
        self._open: dict[int, Any] = {}
        self._kept: OrderedDict[int, list[Row]] = OrderedDict()

    def _row(self, index: int) -> Row:
        number = int(np.searchsorted(self._ends, index, side="right"))
        if number not in self._kept:
            file, group = self._groups[number]
            # Threads of arrow's do not survive the fork of a loader's worker.
            self._kept[number] = self._file(file).read_row_group(group, use_threads=False).to_pylist()
            if len(self._kept) > self._cache:
                self._kept.popitem(last=False)
        self._kept.move_to_end(number)
        return self._kept[number][index - (int(self._ends[number - 1]) if number else 0)]

    def _origin(self, index: int) -> tuple[int, int]:
        number = int(np.searchsorted(self._ends, index, side="right"))
        file, group = self._groups[number]
        first = number - group  # the file's first group
        return file, index - (int(self._ends[first - 1]) if first else 0)

    def _file(self, number: int, where: str = "") -> Any:
        if number not in self._open:
            import pyarrow
            import pyarrow.parquet

            try:
                self._open[number] = pyarrow.parquet.ParquetFile(self._paths[number], memory_map=True)
            except (pyarrow.ArrowException, OSError) as error:
                raise DataError(f"{self._paths[number]} is no readable Parquet file: {error}", where) from error
        return self._open[number]

    def _same_columns(self, number: int, path: Path, where: str) -> None:
        ours, first = (self._file(it).schema_arrow.names for it in (number, 0))
        if set(ours) != set(first):
            raise DataError(
                f"{path}: the columns are {', '.join(ours)}, but those of {self._paths[0]} {', '.join(first)}", where
            )
