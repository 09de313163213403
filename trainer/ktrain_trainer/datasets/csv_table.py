"""CSV files with a header; columns whose values are all numbers become numbers."""

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ktrain.errors import DataError
from ktrain_trainer.datasets import files
from ktrain_trainer.datasets.memory import InMemory

Found = tuple[tuple[int, int], list[str]]  # (number of the file, line), fields


def open_csv(path: str | Sequence[str], where: str, *, delimiter: str = ",", header: Sequence[str] = ()) -> InMemory:
    """Reads the files whole. header: names of the columns when the files have none."""
    if not isinstance(delimiter, str) or len(delimiter) != 1:
        raise DataError(f"delimiter is {delimiter!r}; it is one character", f"{where}.args")
    paths = files.files(path, where)
    names, found = list(header), []
    for number, it in enumerate(paths):
        own = _read(it, delimiter, where)
        names = names or next(own, (0, []))[1]
        if len(set(names)) < len(names):
            raise DataError(f"{it}: the header names a column twice: {', '.join(names)}", where)
        if not header and number and (other := next(own, (0, []))[1]) != names:
            raise DataError(
                f"{it}: the columns are {', '.join(other)}, but those of {paths[0]} {', '.join(names)}", where
            )
        found += [((number, line), _checked(fields, names, f"{it}:{line}", where)) for line, fields in own]
    typed = [_typed(values) for values in zip(*(fields for _, fields in found), strict=True)]
    rows = [dict(zip(names, values, strict=True)) for values in zip(*typed, strict=True)]
    return InMemory(paths, rows, [origin for origin, _ in found])


def _read(path: Path, delimiter: str, where: str) -> Iterator[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(files.read_text(path, where), newline=""), delimiter=delimiter, strict=True)
    try:
        for fields in reader:
            if fields:
                yield reader.line_num, fields
    except csv.Error as error:
        raise DataError(f"{path}:{reader.line_num}: this is no CSV: {error}", where) from None


def _checked(fields: list[str], names: Sequence[str], place: str, where: str) -> list[str]:
    if len(fields) != len(names):
        raise DataError(f"{place}: the row has {len(fields)} fields, but there are {len(names)} columns", where)
    return fields


def _typed(values: Sequence[str]) -> Sequence[Any]:
    kinds: tuple[Callable[[str], Any], ...] = (int, float)
    for kind in kinds:
        try:
            return [kind(value) for value in values]
        except ValueError:
            continue
    return values
