"""What every format gives: rows by number, each with a place that a person can find."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

Row = Mapping[str, Any]


class Rows(Protocol):
    """The rows of some files. Reading one raises DataError with its place when it is broken."""

    @property
    def columns(self) -> Mapping[str, str]:
        """Name in the sample → column, when the job file does not say; empty: all columns under their own names."""

    def __len__(self) -> int: ...

    def read(self, indices: Sequence[int]) -> list[Row]:
        """The rows with these numbers, in this order."""

    def place(self, index: int) -> str:
        """The file and the row, for messages."""

    def identity(self, index: int) -> str:
        """A name that the row keeps when others are added behind it or to other files: what splits go by."""

    def values(self, column: str) -> list[Any]:
        """One column of all rows; KeyError when there is none."""

    def fingerprint(self) -> str:
        """Changes when the files do."""
