"""A number with its noun, as messages tell it."""

import pytest

from ktrain.units import counted


@pytest.mark.parametrize(
    ("number", "noun", "told"),
    [
        (0, "file", "0 files"),
        (1, "file", "1 file"),
        (2, "file", "2 files"),
        (1, "micro-batch", "1 micro-batch"),
        (4, "micro-batch", "4 micro-batches"),
        (1999, "sample", "1,999 samples"),
    ],
)
def test_one_is_not_many(number: int, noun: str, told: str) -> None:
    assert counted(number, noun) == told
