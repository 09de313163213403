"""Built-in datasets: files in common formats, by row number."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from ktrain.errors import DataError
from ktrain.spec.dataset import Dataset
from ktrain_trainer import build
from ktrain_trainer.datasets.annotations import Annotations
from ktrain_trainer.datasets.csv_table import open_csv
from ktrain_trainer.datasets.imagefolder import ImageFolder
from ktrain_trainer.datasets.json_list import open_json
from ktrain_trainer.datasets.jsonl import Jsonl
from ktrain_trainer.datasets.line_stream import JsonlStream, Line, OneRow
from ktrain_trainer.datasets.parquet import Parquet
from ktrain_trainer.datasets.rows import Rows
from ktrain_trainer.datasets.table import Table
from ktrain_trainer.datasets.text import open_text
from ktrain_trainer.streaming import Streamed

SOURCES: Final[Mapping[str, Callable[..., Rows]]] = {
    "jsonl": Jsonl,
    "json": open_json,
    "csv": open_csv,
    "parquet": Parquet,
    "imagefolder": ImageFolder,
    "annotations": Annotations,
    "text": open_text,
}
"""Format → opener(path, where, **args)."""


def open_table(spec: Dataset, where: str, *, classes: int | tuple[str, ...] | None = None) -> Table:
    """The dataset of a `source:`; DataError names what is wrong. classes: those of the training data."""
    assert spec.source is not None
    opener = SOURCES[spec.source]
    known = {"path": spec.path, "where": where}
    build.check_args(opener, {**spec.args, **known}, f"{where}.args")
    rows = opener(**known, **spec.args)
    if len(rows) == 0:
        raise DataError(f"{_shown(spec)} has no rows; check the path", where)
    found = spec.classes if spec.classes is not None else classes or getattr(rows, "class_names", None) or None
    if isinstance(rows, Annotations) and isinstance(found, tuple):
        rows.use_classes(found)
    table = Table(rows, spec.columns or rows.columns, found)
    _check_columns(table, where)
    return table


def open_stream(spec: Dataset, where: str, block: int) -> Streamed:
    """Rows of `source: jsonl` in the order of the files, without an index."""
    build.check_args(JsonlStream, {**spec.args, "path": spec.path, "where": where}, f"{where}.args")
    stream = JsonlStream(spec.path, where, **spec.args)
    return Streamed(stream, block, partial(_sample, spec))


def _sample(spec: Dataset, line: Line) -> Any:
    return Table(OneRow(line), spec.columns, spec.classes)[0]


def _check_columns(table: Table, where: str) -> None:
    """Told before the first step: a column that the first row does not have."""
    wanted: list[str] = [name for of in table.columns.values() for name in ([of] if isinstance(of, str) else of)]
    if not wanted or isinstance(table.rows, ImageFolder | Annotations):
        return
    first: Mapping[str, Any] = table.rows.read([0])[0]
    missing = next((name for name in wanted if name not in first), None)
    if missing is not None:
        raise DataError(
            f"{table.place(0)}: there is no column {missing!r}; there are {', '.join(map(repr, first))}", where
        )


def _shown(spec: Dataset) -> str:
    return spec.path if isinstance(spec.path, str) else ", ".join(spec.path)
