"""Plain YAML scalars by the core schema of YAML 1.2: `no` is a text, 010 is ten, 1e3 is a number."""

import re
from typing import Final

_NULL: Final = frozenset({"", "~", "null", "Null", "NULL"})
_BOOL: Final = {"true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False}
_INT: Final = re.compile(r"[-+]?[0-9]+")
_OCTAL: Final = re.compile(r"0o[0-7]+")
_HEX: Final = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT: Final = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE: Final = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_LONGEST_NUMBER: Final = 400

Scalar = str | int | float | bool | None


def resolve(text: str) -> Scalar:
    """The value of a plain scalar; ValueError for numbers that no JSON document can hold."""
    if text in _NULL:
        return None
    if text in _BOOL:
        return _BOOL[text]
    if not text[0].isdigit() and text[0] not in "+-.":
        return text
    return _number(text)


def _number(text: str) -> Scalar:
    if _NOT_FINITE.fullmatch(text):
        raise ValueError(f"{text} is no finite number, and a job file holds finite ones only")
    kind = int if _INT.fullmatch(text) else float if _FLOAT.fullmatch(text) else None
    if _OCTAL.fullmatch(text) or _HEX.fullmatch(text):
        kind = int
    if kind is None:
        return text
    if len(text) > _LONGEST_NUMBER:
        raise ValueError(f"a number of {len(text)} digits is longer than any setting needs")
    return _parse(text, kind)


def _parse(text: str, kind: type) -> Scalar:
    if kind is float:
        value = float(text)
        if value in {float("inf"), float("-inf")}:
            raise ValueError(f"{text} is larger than the largest double")
        return value
    return int(text, 8 if text.startswith("0o") else 16 if text.startswith("0x") else 10)
