"""The chart's README, whose table comes from the comments in values.yaml: `python -m hack.chart.readme`."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import yaml

from hack.chart.helm import CHART

README: Final = CHART / "README.md"
BEGIN: Final = "<!-- values: written by `make schema` from the comments in values.yaml, kept true by tests/chart -->"
END: Final = "<!-- end of values -->"
_KEY: Final = re.compile(r"( *)([A-Za-z]\w*):")
_FOLDS: Final = 60  # a default that is longer is told in values.yaml only


@dataclass(frozen=True, slots=True)
class Value:
    """One that has a comment."""

    path: str
    default: Any
    text: str


def main() -> None:
    """Writes the table anew."""
    README.write_text(page(README.read_text(encoding="utf-8")), encoding="utf-8")


def page(old: str) -> str:
    """The README as it should be."""
    before, _, rest = old.partition(BEGIN)
    return f"{before}{BEGIN}\n{_table()}{END}{rest.partition(END)[2]}"


def values() -> Iterator[Value]:
    """In the order of the file."""
    text = (CHART / "values.yaml").read_text(encoding="utf-8")
    defaults, path, told = yaml.safe_load(text), list[str](), list[str]()
    for line in text.splitlines():
        comment = line.strip().removeprefix("#") if line.strip().startswith("#") else None
        if comment is not None:
            told = [comment.removeprefix(" -- ")] if comment.startswith(" -- ") else [*told, comment.strip()]
        elif key := _KEY.match(line):
            path = [*path[: len(key[1]) // 2], key[2]]
            if told:
                yield Value(".".join(path), _at(defaults, path), " ".join(told))
            told = []


def _at(defaults: Any, path: list[str]) -> Any:
    for key in path:
        defaults = defaults[key]
    return defaults


def _table() -> str:
    rows = [f"| `{it.path}` | {_default(it.default)} | {it.text.replace('|', chr(92) + '|')} |" for it in values()]
    return "\n".join(["| value | default | what |", "|---|---|---|", *rows]) + "\n"


def _default(value: Any) -> str:
    told = json.dumps(value)
    return f"`{told}`" if len(told) <= _FOLDS else "see values.yaml"


if __name__ == "__main__":
    main()
