"""docs/coverage.md and docs/pitfalls.md: what they say serves a row is there, and what they say shows it is collected.

A test that was collected and did not pass makes the whole run red, and one that was skipped does so in CI.
"""

import ast
import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import pytest
from typer.main import get_command

from ktrain.cli.app import COMMANDS, build

ROOT: Final = Path(__file__).parents[2]
GUIDES: Final = {"A": 41, "B": 31, "C": 24, "D": 32, "E": 11}
PITFALLS: Final = 45
TOKEN: Final = re.compile(r"`([^`]+)`|\]\(([^)#]+)[^)]*\)")


class Row(NamedTuple):
    """One line of a table; served and shown are what stands in backticks or behind links."""

    name: str
    served: tuple[str, ...]
    shown: tuple[str, ...]

    @property
    def is_out_of_scope(self) -> bool:
        return any(it.endswith("SCOPE.md") for it in self.served)


def rows(page: str, pattern: str) -> list[Row]:
    found = []
    for line in (ROOT / "docs" / page).read_text(encoding="utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if cells and re.fullmatch(pattern, cells[0]):
            found.append(Row(cells[0], tokens(cells[2]), tokens(cells[3])))
    return found


def tokens(cell: str) -> tuple[str, ...]:
    return tuple(code or link for code, link in TOKEN.findall(cell))


ROWS: Final = rows("coverage.md", r"[A-E]\d+")
TRAPS: Final = rows("pitfalls.md", r"\d+")


@cache
def schema() -> dict[str, Any]:
    document: dict[str, Any] = json.loads((ROOT / "schema" / "job.schema.json").read_text(encoding="utf-8"))
    return document


def branches(node: Any) -> Iterator[Mapping[str, Any]]:
    """The node itself, what it refers to, and its alternatives."""
    if "$ref" in node:
        yield from branches(schema()["definitions"][node["$ref"].rsplit("/", 1)[1]])
    yield node
    for name in ("anyOf", "oneOf", "allOf", "prefixItems"):
        for inner in node.get(name, ()):
            yield from branches(inner)
    for name in ("items", "additionalProperties"):
        if isinstance(node.get(name), dict):
            yield from branches(node[name])


def has_key(path: str) -> bool:
    """Whether a job file may have `trainer.optim.lr`; below a key with any names, such as args, everything is one."""
    nodes = [it for it in branches(schema()) if "spec" in it.get("properties", {})]
    nodes = [it for node in nodes for it in branches(node["properties"]["spec"])]
    for name in path.removeprefix("spec.").split("."):
        if any(it.get("additionalProperties") is True for it in nodes):
            return True
        nodes = [
            it for node in nodes if name in node.get("properties", {}) for it in branches(node["properties"][name])
        ]
        if not nodes:
            return False
    return True


def has_command(text: str) -> bool:
    words = text.split()[1:]
    command: Any = get_command(build(words[0]) if words[0] in COMMANDS else build(None))
    for word in words:
        if not hasattr(command, "commands"):
            options = {name for it in command.params for name in it.opts}
            return word in options if word.startswith("--") else True
        command = command.commands.get(word)
        if command is None:
            return False
    return True


def exists(token: str) -> bool:
    """A command, a page or file, a function of the package, or a key of the job file."""
    if token.startswith("ktrain "):
        return has_command(token)
    if "/" in token or token.endswith(".md"):
        return (ROOT / "docs" / token).exists() or (ROOT / token).exists()
    return has_key(token)


@cache
def functions(path: str) -> frozenset[str]:
    """`test_x` and `TestY::test_x` of a file."""
    tree = ast.parse((ROOT / path).read_text(encoding="utf-8"))
    inner = {
        f"{node.name}::{it.name}"
        for node in tree.body
        if isinstance(node, ast.ClassDef)
        for it in node.body
        if isinstance(it, ast.FunctionDef)
    }
    return frozenset(inner | {node.name for node in tree.body if isinstance(node, ast.FunctionDef)})


def is_shown(test: str, collected: frozenset[str]) -> bool:
    """By what this run has collected; by its file, where this run collects another part of the tests."""
    path, _, name = test.partition("::")
    if any(it.startswith(f"{path}::") for it in collected):
        return test in collected
    return (ROOT / path).is_file() and name in functions(path)


@pytest.fixture(scope="module")
def collected(request: pytest.FixtureRequest) -> frozenset[str]:
    """Nothing where tests were left out by name or mark: then their files tell."""
    chosen = request.config
    if chosen.getoption("-m") or chosen.getoption("-k") or any("::" in it for it in chosen.args):
        return frozenset()
    return frozenset(item.nodeid.split("[")[0] for item in request.session.items)


def test_all_rows_are_there_once() -> None:
    wanted = [f"{letter}{number}" for letter, count in GUIDES.items() for number in range(1, count + 1)]
    assert [row.name for row in ROWS] == wanted
    assert [row.name for row in TRAPS] == [str(number) for number in range(1, PITFALLS + 1)]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
def test_what_serves_a_row_is_there(row: Row) -> None:
    assert row.served, "nothing serves it; build it, or give the reason in SCOPE.md"
    assert [it for it in row.served if not exists(it)] == []


@pytest.mark.parametrize("row", [row for row in ROWS if not row.is_out_of_scope], ids=lambda row: row.name)
def test_what_shows_a_row_is_collected(row: Row, collected: frozenset[str]) -> None:
    assert row.shown, "nothing shows it"
    assert [it for it in row.shown if not is_shown(it, collected)] == []


@pytest.mark.parametrize("row", TRAPS, ids=lambda row: row.name)
def test_each_pitfall_has_its_test(row: Row, collected: frozenset[str]) -> None:
    assert row.shown
    assert [it for it in row.shown if not is_shown(it, collected)] == []


def test_nothing_depends_on_an_alpha_of_checkpointing() -> None:
    """torch's own new engine; ours is the format in docs/checkpoint-format.md."""
    assert "torch-checkpointing" not in (ROOT / "uv.lock").read_text(encoding="utf-8")


def test_the_check_can_fail() -> None:
    assert not has_key("trainer.optim.learningRate")
    assert not has_command("ktrain optimise")
    assert not is_shown("tests/house/test_coverage.py::test_that_nobody_wrote", frozenset())
