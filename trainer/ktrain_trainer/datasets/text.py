"""Plain text: lines, or windows of bytes or characters for a language model."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from ktrain.errors import DataError
from ktrain_trainer.datasets import files
from ktrain_trainer.datasets.lines import Lines
from ktrain_trainer.datasets.rows import Row, Rows


def open_text(
    path: str | Sequence[str], where: str, *, unit: str = "line", length: int = 128, stride: int | None = None
) -> Rows:
    """unit: line, byte or char; windows of `length` tokens that begin every `stride` (none: windows do not overlap)."""
    paths = files.files(path, where)
    if unit == "line":
        return TextLines(Lines(paths, where))
    if unit not in {"byte", "char"}:
        raise DataError(f"unit is {unit!r}; it can be line, byte or char", f"{where}.args")
    step = stride or length
    if not isinstance(length, int) or not isinstance(step, int) or length < 1 or step < 1:
        raise DataError(
            f"length is {length!r} and stride {stride!r}; both are whole numbers from 1 on", f"{where}.args"
        )
    read = [np.frombuffer(files.Mapped(it)[:], np.uint8) for it in paths]
    if unit == "byte":
        return Windows(paths, read, length, step)
    texts = [files.read_text(it, where) for it in paths]
    alphabet = "".join(sorted(set("".join(texts))))
    numbers = {char: number for number, char in enumerate(alphabet)}
    return Windows(paths, [np.array([numbers[it] for it in text], np.int32) for text in texts], length, step, alphabet)


class TextLines:
    """Rows have one column, text."""

    columns: Mapping[str, str] = {}

    def __init__(self, lines: Lines) -> None:
        self._lines = lines

    def __len__(self) -> int:
        return len(self._lines)

    def read(self, indices: Sequence[int]) -> list[Row]:
        """These lines."""
        return [{"text": self._text(index)} for index in indices]

    def place(self, index: int) -> str:
        """file:line."""
        return self._lines.place(index)

    def identity(self, index: int) -> str:
        """File and offset."""
        return self._lines.identity(index)

    def values(self, column: str) -> list[Any]:
        """All lines."""
        return [{"text": self._text(index)}[column] for index in range(len(self))]

    def fingerprint(self) -> str:
        """Of the files."""
        return files.fingerprint(self._lines.paths)

    def _text(self, index: int) -> str:
        try:
            return self._lines[index].decode()
        except UnicodeDecodeError as error:
            raise DataError(f"{self.place(index)}: this is no UTF-8 text at byte {error.start} of the line") from None


class Windows:
    """Rows have one column, input_ids: int64 (length). A file's last part that fills no window is left out."""

    columns: Mapping[str, str] = {}

    def __init__(
        self, paths: Sequence[Any], tokens: Sequence[Any], length: int, stride: int, alphabet: str = ""
    ) -> None:
        self.alphabet = alphabet  # of characters: the number of each is its place
        self._paths = list(paths)
        self._names = files.short_names(self._paths)
        self._tokens = tokens
        self._length, self._stride = length, stride
        self._ends = np.cumsum([max(0, (len(it) - length) // stride + 1) for it in tokens])

    def __len__(self) -> int:
        return int(self._ends[-1])

    def read(self, indices: Sequence[int]) -> list[Row]:
        """These windows."""
        return [self._row(index) for index in indices]

    def place(self, index: int) -> str:
        """The file, and where the window begins in tokens."""
        file, begin = self._begin(index)
        return f"{self._paths[file]}:{begin}"

    def identity(self, index: int) -> str:
        """The file's name, and where the window begins."""
        file, begin = self._begin(index)
        return f"{self._names[file]}\0{begin}"

    def values(self, column: str) -> list[Any]:
        """All windows."""
        return [self._row(index)[column] for index in range(len(self))]

    def fingerprint(self) -> str:
        """Of the files."""
        return files.fingerprint(self._paths)

    def _row(self, index: int) -> Row:
        file, begin = self._begin(index)
        return {"input_ids": torch.from_numpy(self._tokens[file][begin : begin + self._length].astype(np.int64))}

    def _begin(self, index: int) -> tuple[int, int]:
        file = int(np.searchsorted(self._ends, index, side="right"))
        return file, (index - (int(self._ends[file - 1]) if file else 0)) * self._stride
