"""pydantic's errors in our words: what was found, what was expected, what to write."""

import difflib
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from pydantic.alias_generators import to_camel
from pydantic_core import ErrorDetails

from ktrain.load import shape
from ktrain.load.compose import Document, Location
from ktrain.load.problem import Problem
from ktrain.spec.forms import WORDS

Where = Callable[[Location, bool], Mapping[str, Any]]  # the file, line, … of a location, or of its key

_EXPECTED: Final = {
    "int_type": "a whole number", "int_parsing": "a whole number", "int_from_float": "a whole number",
    "float_type": "a number", "float_parsing": "a number", "bool_type": "true or false", "bool_parsing": "true or false",
    "string_type": "a text", "dict_type": "a mapping", "model_type": "a mapping", "model_attributes_type": "a mapping",
    "tuple_type": "a list", "list_type": "a list", "none_required": "nothing",
}  # fmt: skip
_LIMITS: Final = {
    "greater_than": ("more than", "gt"), "greater_than_equal": ("at least", "ge"),
    "less_than": ("less than", "lt"), "less_than_equal": ("at most", "le"),
}  # fmt: skip


def explain(errors: Iterable[ErrorDetails], document: Document, where: Where) -> list[Problem]:
    """One problem a place; alternatives of a union that all failed are told together."""
    by_path: dict[Location, list[ErrorDetails]] = {}
    for error in errors:
        by_path.setdefault(_path(error["loc"], document.value, error["type"]), []).append(error)
    return sorted((_problem(path, found, document, where) for path, found in by_path.items()), key=_order)


def places(errors: Iterable[ErrorDetails], document: Document) -> frozenset[Location]:
    """Where there is a problem."""
    return frozenset(_path(error["loc"], document.value, error["type"]) for error in errors)


def _order(problem: Problem) -> tuple[int, int]:
    """As they stand in the file; what a --set brought comes last."""
    return problem.line or sys.maxsize, problem.column


def _path(loc: Location, value: Any, kind: str) -> Location:
    """The part of pydantic's location that is in the file: names of union members and functions are not."""
    path: list[str | int] = []
    for position, part in enumerate(loc):
        is_last = position == len(loc) - 1
        if (isinstance(value, dict) and part in value) or (
            isinstance(value, list) and isinstance(part, int) and part < len(value)
        ):
            value = value[part]  # type: ignore[index]
        elif not (is_last and kind == "missing"):
            continue
        path.append(part)
    return tuple(path)


def _best(found: list[ErrorDetails], document: Document, path: Location) -> ErrorDetails:
    """Of a union's errors the one that speaks most to the point: our own first, then one that fits the value's kind."""
    value = _at(document.value, path)
    fits = {"dict_type", "model_type"} if not isinstance(value, dict) else {"int_type", "float_type", "string_type"}
    return min(found, key=lambda error: (error["type"] in fits, error["type"] != "value_error"))


def _problem(path: Location, found: list[ErrorDetails], document: Document, where: Where) -> Problem:
    error = _best(found, document, path)
    kind = error["type"]
    of_key = kind == "extra_forbidden"
    message, hint = _words(path, error)
    forms = [WORDS[it["ctx"]["pattern"]] for it in found if it["type"] == "string_pattern_mismatch"]
    if kind == "literal_error" and forms:
        message += f", or {forms[0]}"
    at = path[:-1] if kind == "missing" else path
    return Problem(
        kind.replace("_", "-"), message, path=_text(path), hint=hint, **where(at, of_key or kind == "missing")
    )


def _words(path: Location, error: ErrorDetails) -> tuple[str, str]:
    kind, value = error["type"], error.get("input")
    context = error.get("ctx", {})
    name = _text(path)
    if kind == "extra_forbidden":
        return _unknown(path)
    if kind == "missing":
        return f"{_text(path[:-1]) or 'the file'} has no {path[-1]!r}", f"add {path[-1]}: …"
    if kind == "value_error":
        return f"{name}: {context['error']}", ""
    if kind == "literal_error":
        near = difflib.get_close_matches(
            str(value), [word.strip("'") for word in str(context["expected"]).replace(" or ", ", ").split(", ")], n=1
        )
        return (
            f"{name} is {_show(value)}; it can be {context['expected']}",
            f"did you mean {near[0]!r}?" if near else "",
        )
    if kind in _EXPECTED:
        hint = f'put it in quotes: "{value}"' if kind == "string_type" and isinstance(value, int | float) else ""
        return f"{name} is {_show(value)}; expected {_EXPECTED[kind]}", hint
    if kind in _LIMITS:
        words, limit = _LIMITS[kind]
        return f"{name} is {_show(value)}; it must be {words} {context[limit]}", ""
    return _other(name, error)


def _other(name: str, error: ErrorDetails) -> tuple[str, str]:
    kind, context = error["type"], error.get("ctx", {})
    if kind == "string_pattern_mismatch":
        return f"{name} is {_show(error.get('input'))}; it must be {WORDS[context['pattern']]}", ""
    if kind == "string_too_long":
        return f"{name} has more than {context['max_length']} characters", ""
    if kind == "string_too_short":
        return f"{name} is empty; write something, or leave the key out", ""
    return f"{name}: {error['msg'][:1].lower()}{error['msg'][1:]}", ""


def _unknown(path: Location) -> tuple[str, str]:
    key, above = str(path[-1]), path[:-1]
    known = shape.keys_at(above)
    camel = to_camel(key.replace("-", "_"))
    near = [camel] if camel in known else difflib.get_close_matches(key, known, n=1, cutoff=0.6)
    message = f"unknown key {key!r} in {_text(above) or 'the file'}"
    if near:
        return message, f"did you mean {near[0]!r}?"
    elsewhere = shape.paths_of(key) or shape.paths_of(camel)
    if len(elsewhere) == 1:
        return message, f"this key lives at {elsewhere[0]}"
    return message, f"known keys: {', '.join(known)}" if len(known) <= 12 else ""


def _at(value: Any, path: Location) -> Any:
    for part in path:
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and isinstance(part, int) and part < len(value):
            value = value[part]
    return value


def _text(path: Location) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text


def _show(value: Any) -> str:
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    if value is None:
        return "empty"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}…"
