"""`--set a.b=c`: one key changed from the command line, typed by the schema."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from ktrain.load import shape
from ktrain.load.compose import Location, compose
from ktrain.load.problem import Problem, SpecErrors
from ktrain.units import counted

_TOP: Final = frozenset({"apiVersion", "kind", "metadata", "spec"})


@dataclass(frozen=True, slots=True)
class Override:
    """A path and the value it gets; `text` is what the user typed."""

    path: Location
    value: Any
    text: str


def parse(text: str) -> Override:
    """`spec.` may be left out; numbers in the path index lists; what the schema wants as a text stays one."""
    left, equals, right = text.partition("=")
    parts = left.strip().split(".")
    if not equals or not all(parts):
        _fail(text, "this is no setting; write --set path.to.key=value")
    path: list[str | int] = [int(part) if part.isdecimal() else part for part in parts]
    if path[0] not in _TOP:
        path.insert(0, "spec")
    value = right if shape.expects_text(path) else _value(right, text) if right.strip() else None
    return Override(tuple(path), value, text)


def _value(right: str, text: str) -> Any:
    try:
        return compose(right, f"--set {text}").value
    except SpecErrors as error:  # its lines are none of a file
        raise SpecErrors([replace(problem, line=0) for problem in error.problems]) from None


def apply(document: Any, overrides: Sequence[Override]) -> Any:
    """A copy of the document with the values put in; mappings and lists on the way are made."""
    for override in overrides:
        document = _put(document, override, 0)
    return document


def _put(target: Any, override: Override, depth: int) -> Any:
    if depth == len(override.path):
        return override.value
    key = override.path[depth]
    if isinstance(target, list) or (target is None and shape.is_list(override.path[:depth])):
        return _put_into_list(target or [], key, override, depth)
    inner = dict(target) if isinstance(target, dict) else {}
    if depth + 1 == len(override.path) and override.value is None and str(key) in shape.keys_at(override.path[:depth]):
        inner.pop(str(key), None)  # as Helm does: null is the default
    else:
        inner[str(key)] = _put(inner.get(str(key)), override, depth + 1)
    return inner


def _put_into_list(items: list[Any], key: str | int, override: Override, depth: int) -> list[Any]:
    """Changes one item, or appends one behind the last."""
    if not isinstance(key, int) or key > len(items):
        _fail(override.text, f"the list here has {counted(len(items), 'item')}; {key} is none of them")
    padded = [*items, None] if key == len(items) else items
    return [_put(item, override, depth + 1) if index == key else item for index, item in enumerate(padded)]


def _fail(text: str, message: str) -> None:
    raise SpecErrors([Problem("set", message, f"--set {text}")])
