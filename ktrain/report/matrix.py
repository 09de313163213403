"""Confusion matrices of a run's newest evaluation, as tables whose cells are the darker the more is in them."""

from collections.abc import Sequence
from html import escape
from typing import Any, Final

from ktrain.records import Records

LARGEST: Final = 40  # classes; beyond that nobody reads a table


def matrices(records: Records) -> str:
    """Empty when there is none."""
    evals = records.of("eval")
    details = evals[-1].get("details") or {} if evals else {}
    drawn = [_figure(name, value) for name, value in details.items() if _is_matrix(value)]
    return f"<div class='charts'>{''.join(drawn)}</div>" if drawn else ""


def _figure(name: str, matrix: Sequence[Sequence[float]]) -> str:
    header = "".join(f"<th>{column}</th>" for column in range(len(matrix)))
    rows = "".join(
        f"<tr><th>{number}</th>{''.join(_cell(value, sum(row)) for value in row)}</tr>"
        for number, row in enumerate(matrix)
    )
    return (
        f"<figure><figcaption>{escape(name)}</figcaption><div class='scroll'><table class='matrix'>"
        f"<thead><tr><th>true \\ predicted</th>{header}</tr></thead><tbody>{rows}</tbody></table></div></figure>"
    )


def _cell(value: float, total: float) -> str:
    share = value / total if total else 0.0
    return f"<td style='background: rgb(37 99 235 / {0.75 * share:.2f})' title='{share:.1%}'>{value:.4g}</td>"


def _is_matrix(value: Any) -> bool:
    return (
        isinstance(value, list)
        and 2 <= len(value) <= LARGEST
        and all(isinstance(row, list) and len(row) == len(value) for row in value)
        and all(isinstance(it, int | float) and it >= 0 for row in value for it in row)
    )
