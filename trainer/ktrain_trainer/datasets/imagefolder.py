"""Folders of images, one a class: path/class/….png."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import xxhash

from ktrain.errors import DataError
from ktrain_trainer.datasets import files
from ktrain_trainer.datasets.images import EXTENSIONS, check_mode, read_image
from ktrain_trainer.datasets.rows import Row


class ImageFolder:
    """Rows are image, label (the folder's name), path; in the order of their paths."""

    columns: Final[Mapping[str, str]] = {"input": "image", "target": "label"}

    def __init__(self, path: str | Sequence[str], where: str, *, mode: str = "rgb") -> None:
        self._mode = check_mode(mode, where)
        self._images = [image for root in files.expand(path, where) for image in _images(root, where)]
        self.class_names = tuple(sorted({label for _, label, _ in self._images}))

    def __len__(self) -> int:
        return len(self._images)

    def read(self, indices: Sequence[int]) -> list[Row]:
        """Decodes these images."""
        return [self._row(index) for index in indices]

    def place(self, index: int) -> str:
        """The image's number among all; the message names its file."""
        return f"image {index + 1}, {self._images[index][0]}"

    def identity(self, index: int) -> str:
        """Class and file name."""
        return self._images[index][2]

    def values(self, column: str) -> list[Any]:
        """Labels and paths, without reading an image."""
        return [{"label": label, "path": str(path)}[column] for path, label, _ in self._images]

    def fingerprint(self) -> str:
        """Of names and sizes: reading all images would take as long as an epoch."""
        digest = xxhash.xxh3_64()
        for path, _, name in self._images:
            digest.update(f"{name}\0{path.stat().st_size}\0".encode())
        return digest.hexdigest()

    def _row(self, index: int) -> Row:
        path, label, _ = self._images[index]
        return {"image": read_image(path, f"image {index + 1}", self._mode), "label": label, "path": str(path)}


def _images(root: Path, where: str) -> list[tuple[Path, str, str]]:
    """(path, class, name that stays when the folder moves)."""
    if not root.is_dir():
        raise DataError(f"{root} is no folder; source: imagefolder wants a folder with one folder a class", where)
    found = sorted(it for it in root.rglob("*") if it.suffix.lower() in EXTENSIONS and it.is_file())
    loose = next((it for it in found if it.parent == root), None)
    if loose:
        raise DataError(f"{loose} lies in no folder of a class; put it into {root}/<class>/", where)
    if not found:
        raise DataError(f"{root} has no image ({', '.join(sorted(EXTENSIONS))}) in folders of classes", where)
    return [(it, it.relative_to(root).parts[0], it.relative_to(root).as_posix()) for it in found]
