"""A confusion matrix in the report."""

from typing import Any

import pytest

from ktrain.records import Records
from ktrain.report.matrix import matrices


def drawn(details: dict[str, Any] | None) -> str:
    record = {
        "kind": "eval",
        "time": 1.0,
        "attempt": 1,
        "epoch": 1,
        "step": 3,
        "samples": 3,
        "tokens": 3.0,
        "values": {},
    }
    return matrices(Records(({**record, "details": details} if details is not None else record,), 0))


def test_a_matrix_is_drawn_with_the_share_of_each_row_as_its_shade() -> None:
    text = drawn({"val/<matrix>": [[3, 1], [0, 8]]})
    assert "val/&lt;matrix&gt;" in text
    assert [f"/ {shade})" in text for shade in ("0.56", "0.19", "0.00", "0.75")] == [True] * 4
    assert "title='75.0%'>3</td>" in text


@pytest.mark.parametrize("value", [[0.5, 0.25], [[1, 2, 3], [4, 5, 6]], [[1, -1], [0, 1]], 3.0, [[0] * 41] * 41])
def test_what_is_no_matrix_is_left_out(value: Any) -> None:
    assert drawn({"val/other": value}) == ""


def test_an_evaluation_without_details_has_none() -> None:
    assert drawn(None) == ""
