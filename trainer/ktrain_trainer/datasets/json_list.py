"""JSON files that hold one list of objects."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ktrain.errors import DataError
from ktrain_trainer.datasets import files
from ktrain_trainer.datasets.memory import InMemory


def open_json(path: str | Sequence[str], where: str) -> InMemory:
    """Reads the files whole; rows are counted from 1."""
    paths = files.files(path, where)
    found = [(number, row, item) for number, it in enumerate(paths) for row, item in enumerate(read(it, where), 1)]
    return InMemory(paths, [item for _, _, item in found], [(number, row) for number, row, _ in found])


def read(path: Path, where: str) -> list[dict[str, Any]]:
    """The objects of one file; DataError names the file and the row."""
    try:
        found = json.loads(files.read_text(path, where))
    except ValueError as error:
        raise DataError(f"{path}: this is no JSON: {error}", where) from None
    if not isinstance(found, list):
        raise DataError(f"{path}: expected a list of objects, but this is a {type(found).__name__}", where)
    for row, item in enumerate(found, 1):
        if not isinstance(item, dict):
            raise DataError(f"{path}:{row}: expected an object, but this is a {type(item).__name__}", where)
    return found
