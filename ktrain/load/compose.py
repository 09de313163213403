"""From YAML text to plain values, with the line and column of every key and value.

We read libyaml's events and build the tree ourselves: its own composer dies on deep nesting (SIGSEGV at 40,000 levels),
lets the last of two equal keys win silently, reads `no` as False, and knows no limit.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from ktrain.load import scalars
from ktrain.load.problem import Problem, SpecErrors

MAX_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 100
MAX_NODES: Final = 50_000  # aliases count with all that they stand for
Location = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Place:
    """Line and column, from 1, and how many characters belong to it."""

    line: int
    column: int
    length: int = 1


@dataclass(frozen=True)
class Document:
    """The values, and where each of them stands."""

    value: Any
    keys: dict[Location, Place] = field(default_factory=dict)
    values: dict[Location, Place] = field(default_factory=dict)
    lines: list[str] = field(default_factory=list)

    def place(self, location: Location, *, of_key: bool = False) -> Place:
        """Of the value (or its key), or of the nearest part above it that has a place."""
        for end in range(len(location), -1, -1):
            for table in (self.keys, self.values) if of_key else (self.values, self.keys):
                if location[:end] in table:
                    return table[location[:end]]
        return Place(1, 1)


def compose(text: str, name: str) -> Document:
    """The one document of the text; SpecErrors for what is no YAML, or more than a job file can be."""
    return _Composer(text, name).document()


class _Composer:
    def __init__(self, text: str, name: str) -> None:
        self._name = name
        self._lines = text.splitlines()
        self._found = Document(None, lines=self._lines)
        self._anchors: dict[str, tuple[Any, int]] = {}
        self._count = 0
        if len(text.encode(errors="surrogatepass")) > MAX_BYTES:
            self._fail(
                "too-large", f"the file is larger than {MAX_BYTES >> 20} MiB; a job file is a few kilobytes", None
            )
        self._text = text

    def document(self) -> Document:
        try:
            self._events: Iterator[Any] = yaml.parse(self._text, Loader=yaml.CSafeLoader)
            return self._document()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            told = " ".join(str(part) for part in (error.context, error.problem) if part)
            advice = "; indent with spaces, tabs are not allowed here" if "\t" in self._before(mark) else ""
            self._fail("yaml", f"this is no YAML: {told}{advice}", mark)
        except yaml.YAMLError as error:  # control characters, broken encodings
            self._fail("yaml", f"this is no YAML: {str(error).splitlines()[0]}", None)
        raise AssertionError

    def _document(self) -> Document:
        next(self._events)  # the stream's start
        begin = next(self._events)
        if not isinstance(begin, yaml.DocumentStartEvent):
            self._fail("empty", "the file is empty; `ktrain init` writes one that works", None)
        value = self._node(next(self._events), (), 0)
        next(self._events)
        another = next(self._events)
        if isinstance(another, yaml.DocumentStartEvent):
            self._fail("documents", "a job file holds one document, but another begins here", another.start_mark)
        return Document(value, self._found.keys, self._found.values, self._lines)

    def _before(self, mark: Any) -> str:
        """The white space that the line of a mark begins with."""
        line = self._lines[mark.line] if mark is not None and mark.line < len(self._lines) else ""
        return line[: len(line) - len(line.lstrip())]

    def _node(self, event: Any, location: Location, depth: int) -> Any:
        self._count += 1
        if depth > MAX_DEPTH:
            self._fail("too-deep", f"more than {MAX_DEPTH} levels of nesting", event.start_mark)
        if self._count > MAX_NODES:
            self._fail("too-many", f"more than {MAX_NODES} values, aliases expanded", event.start_mark)
        self._found.values[location] = _place(event)
        if isinstance(event, yaml.AliasEvent):
            return self._alias(event)
        self._refuse_tag(event)
        before = self._count
        if isinstance(event, yaml.ScalarEvent):
            value = self._scalar(event)
        elif isinstance(event, yaml.SequenceStartEvent):
            value = self._sequence(location, depth)
        else:
            value = self._mapping(location, depth)
        if event.anchor is not None:
            self._anchors[event.anchor] = (value, self._count - before + 1)
        return value

    def _alias(self, event: Any) -> Any:
        if event.anchor not in self._anchors:
            self._fail("alias", f"there is no anchor &{event.anchor} before this alias", event.start_mark)
        value, size = self._anchors[event.anchor]
        self._count += size
        if self._count > MAX_NODES:
            self._fail("too-many", f"more than {MAX_NODES} values, aliases expanded", event.start_mark)
        return value

    def _scalar(self, event: Any) -> Any:
        if not event.implicit[0]:
            return event.value
        try:
            return scalars.resolve(event.value)
        except ValueError as error:
            self._fail("number", str(error), event.start_mark)
        raise AssertionError

    def _sequence(self, location: Location, depth: int) -> list[Any]:
        items: list[Any] = []
        while not isinstance(event := next(self._events), yaml.SequenceEndEvent):
            items.append(self._node(event, (*location, len(items)), depth + 1))
        return items

    def _mapping(self, location: Location, depth: int) -> dict[str, Any]:
        items: dict[str, Any] = {}
        while not isinstance(event := next(self._events), yaml.MappingEndEvent):
            key = self._key(event, items)
            self._found.keys[(*location, key)] = _place(event)
            items[key] = self._node(next(self._events), (*location, key), depth + 1)
        return items

    def _key(self, event: Any, items: dict[str, Any]) -> str:
        if not isinstance(event, yaml.ScalarEvent):
            self._fail("key", "a key must be a plain text", event.start_mark)
        key = self._scalar(event)
        if key == "<<" and event.implicit[0]:
            self._fail("merge", "merge keys (<<) are not part of YAML 1.2; write the keys out", event.start_mark)
        if not isinstance(key, str):
            self._fail("key", f"a key must be a text, but {event.value} is not; put it in quotes", event.start_mark)
        if key in items:
            self._fail(
                "duplicate",
                f"the key {key!r} stands here a second time; remove one of them",
                event.start_mark,
                len(key),
            )
        return str(key)

    def _refuse_tag(self, event: Any) -> None:
        if event.tag is not None:
            self._fail(
                "tag", f"tags such as {event.tag[:60]} have no meaning in a job file; remove it", event.start_mark
            )

    def _fail(self, code: str, message: str, mark: Any, length: int = 1) -> None:
        line, column = (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
        source = self._lines[line - 1] if line <= len(self._lines) else ""
        raise SpecErrors([Problem(code, message, self._name, line, column, source_line=source, length=length)])


def _place(event: Any) -> Place:
    begin, end = event.start_mark, event.end_mark
    is_flat = isinstance(event, yaml.ScalarEvent | yaml.AliasEvent) and begin.line == end.line
    return Place(begin.line + 1, begin.column + 1, max(1, end.column - begin.column) if is_flat else 1)
