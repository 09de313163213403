"""From rows to samples: columns under the names that the task wants, numbers as tensors, labels as class numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import torch

from ktrain.errors import DataError
from ktrain_trainer.datasets.rows import Row, Rows

Columns = Mapping[str, str | tuple[str, ...]]
_PAIR: Final = ("input", "target")
_LABELS: Final = ("target", "label", "labels")


@dataclass(frozen=True)
class Table:
    """A map-style dataset. Samples are pairs when the names are input and target, else mappings by name."""

    rows: Rows
    columns: Columns
    classes: int | tuple[str, ...] | None = None
    _numbers: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        names = self.classes if isinstance(self.classes, tuple) else ()
        object.__setattr__(self, "_numbers", {name: number for number, name in enumerate(names)})

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Many at once: a format may read neighbours together."""
        return [self._sample(index, row) for index, row in zip(indices, self.rows.read(indices), strict=True)]

    def column(self, name: str) -> list[Any]:
        """One column of all rows, by its own name or by its name in the samples; DataError when there is none."""
        mapped = self.columns.get(name, name)
        for candidate in (name, mapped):
            try:
                return self.rows.values(candidate if isinstance(candidate, str) else candidate[0])
            except KeyError:
                continue
        raise DataError(f"{self.place(0)}: there is no column {name!r}; there are {_known(self.rows.read([0])[0])}")

    def identity(self, index: int) -> str:
        """What splits go by."""
        return self.rows.identity(index)

    def place(self, index: int) -> str:
        """The file and the row, for messages."""
        return self.rows.place(index)

    def fingerprint(self) -> str:
        """Changes when the files do."""
        return self.rows.fingerprint()

    def _sample(self, index: int, row: Row) -> Any:
        if not self.columns:
            return {name: self._value(index, name, value) for name, value in row.items()}
        sample = {name: self._value(index, name, self._pick(index, row, of)) for name, of in self.columns.items()}
        return (sample["input"], sample["target"]) if set(sample) == set(_PAIR) else sample

    def _pick(self, index: int, row: Row, of: str | tuple[str, ...]) -> Any:
        try:
            if isinstance(of, str):
                return row[of]
            return [self._number(name, row[name]) for name in of]
        except KeyError as error:
            raise DataError(
                f"{self.place(index)}: the row has no column {error.args[0]!r}; it has {_known(row)}"
            ) from None

    def _number(self, name: str, value: Any) -> Any:
        """Of a vector. A file's column is all text as soon as one value in it is: that one is named."""
        if not isinstance(value, str):
            return value
        wrong = next((at for at, each in enumerate(self.rows.values(name)) if not _is_number(each)), None)
        where = "" if wrong is None else f"{self.place(wrong)}: "
        shown = value if wrong is None else self.rows.read([wrong])[0][name]
        raise DataError(f"{where}{shown!r} in column {name!r} is no number, but columns that make a vector are numbers")

    def _value(self, index: int, name: str, value: Any) -> Any:
        if self.classes is not None and name in _LABELS and not isinstance(value, Mapping):
            return self._class(index, value)
        if isinstance(value, float):
            return torch.tensor(value)  # float32: collating Python's would give float64
        if isinstance(value, list) and value and not isinstance(value[0], str | Mapping):
            return self._tensor(index, name, value)
        return value

    def _class(self, index: int, value: Any) -> int:
        number = self._numbers.get(value) if isinstance(value, str) else value
        many = self.classes if isinstance(self.classes, int) else len(self.classes or ())
        if isinstance(number, int) and not isinstance(number, bool) and 0 <= number < many:
            return number
        known = f"0 to {many - 1}" if isinstance(self.classes, int) else ", ".join(self._numbers)
        raise DataError(f"{self.place(index)}: the label {value!r} is out of range; the {many} classes are {known}")

    def _tensor(self, index: int, name: str, value: list[Any]) -> torch.Tensor:
        try:
            tensor = torch.tensor(value)
        except (ValueError, TypeError, RuntimeError) as error:
            raise DataError(f"{self.place(index)}: {name!r} is ragged or holds more than numbers ({error})") from None
        return tensor.float() if tensor.is_floating_point() else tensor


def _is_number(value: Any) -> bool:
    try:
        float(value)
    except (TypeError, ValueError):
        return False
    return True


def _known(row: Row) -> str:
    return ", ".join(map(repr, row)) or "none"
