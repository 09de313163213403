"""The chart's own suites, in its folder, and one for each template."""

import subprocess

import pytest

from hack.chart import helm
from tests.chart.tools import program

SUITES = helm.CHART / "tests"


@pytest.mark.slow
def test_the_suites_pass() -> None:
    done = subprocess.run(
        [program("helm-unittest"), "--strict", "--color=false", helm.CHART],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    assert int(done.stdout.partition("Tests:")[2].split()[0]) > 50


def test_each_template_has_a_suite() -> None:
    told = "".join(path.read_text(encoding="utf-8") for path in SUITES.glob("*_test.yaml"))
    templates = (it for it in (helm.CHART / "templates").rglob("*") if it.suffix in {".yaml", ".txt"})
    missing = {it.relative_to(helm.CHART / "templates").as_posix() for it in templates} - NEED_FILES
    assert [name for name in sorted(missing) if name not in told] == []


NEED_FILES = {"alerts.yaml", "dashboards.yaml"}
"""Of which tests/chart/test_files.py makes the files."""
