"""`--set a.b=c`: one key changed from the command line, typed by the schema."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from ktrain.load import shape
from ktrain.load.compose import Location, compose
from ktrain.load.problem import Problem, SpecErrors

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
    value = right if shape.expects_text(path) else compose(right, f"--set {text}").value if right.strip() else None
    return Override(tuple(path), value, text)


def apply(document: Any, overrides: Sequence[Override]) -> Any:
    """A copy of the document with the values put in; mappings on the way are made."""
    for override in overrides:
        document = _put(document, override.path, override.value, override.text)
    return document


def _put(target: Any, path: Location, value: Any, text: str) -> Any:
    if not path:
        return value
    key = path[0]
    if isinstance(target, list):
        if not isinstance(key, int) or key >= len(target):
            _fail(text, f"the list here has {len(target)} items; {key} is none of them")
        return [_put(item, path[1:], value, text) if index == key else item for index, item in enumerate(target)]
    inner = dict(target) if isinstance(target, dict) else {}
    inner[str(key)] = _put(inner.get(str(key)), path[1:], value, text)
    return inner


def _fail(text: str, message: str) -> None:
    raise SpecErrors([Problem("set", message, f"--set {text}")])
