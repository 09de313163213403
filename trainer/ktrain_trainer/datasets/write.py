"""Samples into Parquet files, a file at a time; a call that was interrupted is gone on with."""

import json
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import torch

from ktrain.errors import DataError
from ktrain.extras import require

_GROUP_ROWS: Final = 256  # small: a shuffled order reads a group for each sample that it takes
_BEGUN: Final = "begun.json"
MANIFEST: Final = "manifest.json"


class Writer:
    """Each file appears whole; the manifest goes last."""

    def __init__(self, folder: Path, rows: int) -> None:
        self._folder = folder
        self._rows = rows
        self._arrow = require("pyarrow", "data", "ktrain data prepare")
        self._parquet = require("pyarrow.parquet", "data", "ktrain data prepare")

    def begin(self, told: Mapping[str, Any]) -> None:
        """Notes what is being written; DataError when the folder holds something else."""
        text = json.dumps(told, indent=1)
        begun = self._folder / _BEGUN
        if begun.exists() and begun.read_text() != text:
            raise DataError(f"{self._folder} holds files of other data or settings; delete it, or name another folder")
        if not begun.exists() and self._folder.exists() and any(self._folder.iterdir()):
            raise DataError(f"{self._folder} is not empty; name another folder")
        self._folder.mkdir(parents=True, exist_ok=True)
        _replace(begun, lambda path: path.write_text(text))

    def write(self, split: str, samples: int, read: Callable[[int], Any]) -> dict[str, Any]:
        """The files of one split; those that are there are kept."""
        (self._folder / split).mkdir(exist_ok=True)
        files = []
        for number, begin in enumerate(range(0, samples, self._rows)):
            path = self._folder / split / f"part-{number:05d}.parquet"
            if not path.exists():
                rows = [_row(read(index)) for index in range(begin, min(begin + self._rows, samples))]
                _replace(path, partial(self._table, self._arrow.Table.from_pylist(rows)))
            files.append(f"{split}/{path.name}")
        return {"samples": samples, "files": files}

    def _table(self, table: Any, path: Path) -> None:
        self._parquet.write_table(table, path, row_group_size=_GROUP_ROWS)

    def end(self, manifest: dict[str, Any]) -> dict[str, Any]:
        """Writes the manifest, and gives it back."""
        _replace(self._folder / MANIFEST, lambda path: path.write_text(json.dumps(manifest, indent=1)))
        return manifest


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    unfinished = path.with_suffix(".partial")
    write(unfinished)
    unfinished.replace(path)


def _row(sample: Any) -> dict[str, Any]:
    """Pairs get the columns input and target; tensors become (nested) lists."""
    if isinstance(sample, tuple) and len(sample) == 2:
        sample = {"input": sample[0], "target": sample[1]}
    if not isinstance(sample, Mapping):
        sample = {"sample": sample}
    return {str(name): _plain(value) for name, value in sample.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.tolist()
    return {name: _plain(inner) for name, inner in value.items()} if isinstance(value, Mapping) else value
