"""The house is in order: what the documents say of the tree is true."""

import ast
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from ktrain import __version__, reference, schema
from ktrain.templates import TEMPLATES

ROOT = Path(__file__).parents[2]
TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")[
    :-1
]
PROGRAMS = [
    ROOT / path for path in TRACKED if path.endswith(".py") and not path.startswith(("tests/", "ktrain/templates/"))
]
NAMES = [str(path.relative_to(ROOT)) for path in PROGRAMS]


@pytest.mark.parametrize("path", PROGRAMS, ids=NAMES)
def test_a_file_says_its_idea_first(path: Path) -> None:
    documentation = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert documentation
    assert documentation.splitlines()[0].endswith((".", "!", "?", ":"))


@pytest.mark.parametrize("path", PROGRAMS, ids=NAMES)
def test_a_file_is_short_enough_to_be_one_idea(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 320


def test_nothing_names_a_registry_or_somebodys_folder() -> None:
    forbidden = re.compile(
        "|".join(("pypi" + r"\.org", "python" + "hosted", "proxy" + r"\.golang", "/ro" + "ot/", "/wo" + "rk/"))
    )
    for name in TRACKED:
        path = ROOT / name
        if path.suffix in {".lock", ".txt", ".bin"} or not path.is_file():
            continue
        assert not forbidden.search(path.read_text(encoding="utf-8", errors="replace")), name


def test_one_thing_is_never_told_as_several() -> None:
    plural = re.compile(
        r"\{len\([^{}()]*\)(?::,)?\} (?:file|item|step|sample|trial|run|fold|rank|pod|tensor|checkpoint|choice)s\b"
    )
    told = {path.name: plural.findall(path.read_text(encoding="utf-8")) for path in (ROOT / "ktrain").rglob("*.py")}
    assert [name for name, found in told.items() if found] == []  # units.counted knows one from many


def test_the_readmes_tree_is_the_tree() -> None:
    table = (ROOT / "README.md").read_text(encoding="utf-8").partition("## The tree")[2]
    told = set(re.findall(r"^\| \[`([\w.]+)/`\]", table, re.MULTILINE))
    assert told == {name.split("/")[0] for name in TRACKED if "/" in name and not name.startswith(".")}


def test_make_help_tells_every_target() -> None:
    done = subprocess.run(["make", "--no-print-directory"], cwd=ROOT, capture_output=True, text=True, check=True)
    for target in ("run", "test", "test-fast", "lint", "bench", "bench-%", "docs", "transcript", "chart"):
        assert re.search(rf"^  {re.escape(target)} +\w", done.stdout, re.MULTILINE), target


def test_the_schema_in_the_tree_is_the_codes() -> None:
    assert (ROOT / "schema" / "job.schema.json").read_text(encoding="utf-8") == schema.text()


def test_the_reference_pages_are_the_codes() -> None:
    """After a change on purpose: `make schema`."""
    assert (ROOT / "docs" / "job.md").read_text(encoding="utf-8") == reference.job_page()
    assert (ROOT / "docs" / "lint.md").read_text(encoding="utf-8") == reference.lint_page()


def test_the_schema_is_a_schema_and_the_job_files_fit_it(tmp_path: Path) -> None:
    check = str(Path(sys.executable).with_name("check-jsonschema"))
    path = ROOT / "schema" / "job.schema.json"
    subprocess.run([check, "--check-metaschema", path], check=True, capture_output=True)
    jobs = [*ROOT.glob("examples/*/job.yaml")]
    for template in TEMPLATES.values():
        (tmp_path / f"{template.name}.yaml").write_text(template.read("job.yaml", job="demo"), encoding="utf-8")
    done = subprocess.run(
        [check, "--schemafile", path, *jobs, *tmp_path.glob("*.yaml")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_the_wheel_has_the_three_packages_and_the_templates(tmp_path: Path) -> None:
    uv = ROOT / ".tools" / "uv" / "bin" / "uv"
    subprocess.run([uv, "build", "--wheel", "--quiet", "--out-dir", tmp_path], cwd=ROOT, check=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert wheel.name.startswith(f"ktrain_operator-{__version__}-")
    for wanted in (
        "ktrain/__main__.py",
        "ktrain_launcher/__main__.py",
        "ktrain_trainer/__main__.py",
        "ktrain/templates/minimal/job.yaml",
    ):
        assert wanted in names
    assert not [name for name in names if "test" in name]


@pytest.mark.slow
def test_the_readmes_terminal_is_what_the_commands_print() -> None:
    done = subprocess.run(
        [sys.executable, "hack/transcript.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_dockerfile_is_clean() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("hadolint"), "Dockerfile"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
