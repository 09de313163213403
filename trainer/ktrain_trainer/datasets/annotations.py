"""Images that a JSON list names, with a label, or with boxes and their labels."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import torch

from ktrain.errors import DataError
from ktrain.extras import require
from ktrain_trainer.datasets import json_list
from ktrain_trainer.datasets.images import check_mode, read_image
from ktrain_trainer.datasets.rows import Row

KEYS: Final = ("image", "image_path", "file_name", "path")


class Annotations:
    """Entries {image, label} or {image, boxes: [[x1, y1, x2, y2], …], labels: […]}; other keys are columns too.

    Images lie beside the list, or under root. A target with boxes is {boxes: float (n, 4), labels: int64 (n)}.
    """

    columns: Final[Mapping[str, str]] = {"input": "image", "target": "target"}

    def __init__(self, path: str | Sequence[str], where: str, *, root: str | None = None, mode: str = "rgb") -> None:
        self._mode = check_mode(mode, where)
        self._list = json_list.open_json(path, where)
        self._root = Path(root) if root else None
        for index, entry in enumerate(self._list.rows):
            _check(entry, self._list.place(index))
        names = {label for entry in self._list.rows for label in _labels(entry) if isinstance(label, str)}
        self.class_names = tuple(sorted(names))
        self._numbers = {name: number for number, name in enumerate(self.class_names)}

    def __len__(self) -> int:
        return len(self._list)

    def read(self, indices: Sequence[int]) -> list[Row]:
        """Decodes these images."""
        return [self._row(index) for index in indices]

    def place(self, index: int) -> str:
        """file:row of the list."""
        return self._list.place(index)

    def identity(self, index: int) -> str:
        """The image's path as the list has it."""
        return _image(self._list.rows[index])

    def values(self, column: str) -> list[Any]:
        """From the list, without reading an image."""
        return self._list.values("label" if column == "target" else column)

    def fingerprint(self) -> str:
        """Of the list."""
        return self._list.fingerprint()

    def use_classes(self, names: Sequence[str]) -> None:
        """Numbers for names of labels, as the job file or the training data has them."""
        self._numbers = {name: number for number, name in enumerate(names)}

    def _row(self, index: int) -> Row:
        entry, place = self._list.rows[index], self.place(index)
        file, _ = self._list.origins[index]
        path = (self._root or self._list.paths[file].parent) / _image(entry)
        image = read_image(path, place, self._mode)
        target = self._boxes(entry, image, place) if "boxes" in entry else entry["label"]
        return {**entry, "image": image, "target": target}

    def _boxes(self, entry: Row, image: torch.Tensor, place: str) -> dict[str, Any]:
        vision = require("torchvision.tv_tensors", "data", "reading boxes")
        boxes = torch.tensor(entry["boxes"], dtype=torch.float32).reshape(-1, 4)
        if (boxes[:, 2:] <= boxes[:, :2]).any():
            raise DataError(f"{place}: a box is [x1, y1, x2, y2] with x1 < x2 and y1 < y2; got {entry['boxes']}")
        labels = [self._number(label, place) for label in entry["labels"]]
        return {
            "boxes": vision.BoundingBoxes(boxes, format="XYXY", canvas_size=tuple(image.shape[-2:])),
            "labels": torch.tensor(labels, dtype=torch.int64),
        }

    def _number(self, label: Any, place: str) -> int:
        number = self._numbers.get(label) if isinstance(label, str) else label
        if not isinstance(number, int) or number < 0 or (self._numbers and number >= len(self._numbers)):
            known = ", ".join(self._numbers) or "numbers from 0 on"
            raise DataError(f"{place}: the label {label!r} is out of range; the classes are {known}")
        return number


def _check(entry: Row, place: str) -> None:
    if not _image(entry):
        raise DataError(f"{place}: the entry has no image; name its file by one of {', '.join(KEYS)}")
    if "label" not in entry and "boxes" not in entry:
        raise DataError(f"{place}: the entry has neither label nor boxes; it has {', '.join(entry)}")
    boxes, labels = entry.get("boxes"), entry.get("labels")
    if boxes is None:
        return
    if not isinstance(boxes, list) or any(not isinstance(box, list) or len(box) != 4 for box in boxes):
        raise DataError(f"{place}: boxes must be a list of [x1, y1, x2, y2]; got {boxes!r}")
    if not isinstance(labels, list) or len(labels) != len(boxes):
        raise DataError(f"{place}: there are {len(boxes)} boxes, and labels is {labels!r}; give one label a box")


def _image(entry: Row) -> str:
    return next((str(entry[key]) for key in KEYS if entry.get(key)), "")


def _labels(entry: Row) -> list[Any]:
    return [entry["label"]] if "label" in entry else list(entry["labels"])
