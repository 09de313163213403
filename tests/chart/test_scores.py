"""What scanners say of the packaged chart with its default values: all of it passes, and nothing is skipped.

The packaged one, because a digest is only known when an image has been built.
"""

import subprocess
from collections import Counter
from pathlib import Path

import pytest
import yaml

from hack.chart import checkov, helm
from hack.chart.package import package
from tests.chart.kube_linter import KINDS, rules
from tests.chart.tools import program
from tests.chart.variants import NAMESPACED, Values

# All but one of those that are off by default: a CPU limit that equals the request would only slow the controller down.
OPTIONAL = (
    "container-memory-requests-equal-limits", "container-ephemeral-storage-request-equals-limit", "container-ports-check",
    "container-seccomp-profile",
)  # fmt: skip


@pytest.fixture(scope="module")
def chart(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package."""
    digest, repository = f"sha256:{'0' * 64}", "registry.example/ktrain-controller"
    return package(tmp_path_factory.mktemp("packaged"), digest=digest, repository=repository)


@pytest.fixture(scope="module")
def manifests(chart: Path) -> Path:
    """What its default values make."""
    path = chart.with_name("manifests.yaml")
    path.write_text(helm.text(chart=chart))
    return path


@pytest.mark.slow
@pytest.mark.parametrize("values", [{}, NAMESPACED], ids=["all namespaces", "one"])
def test_checkov_gives_all_and_skips_nothing(chart: Path, values: Values, tmp_path: Path) -> None:
    path = tmp_path / "manifests.yaml"
    path.write_text(helm.text(values, chart=chart))
    results = checkov.scan(path)
    bad = [f"{it['check_id']} {it['resource']}" for it in results if it["check_result"]["result"] != "PASSED"]
    assert bad == []
    assert len(results) > 200


@pytest.mark.slow
def test_kube_score_finds_nothing(manifests: Path) -> None:
    optional = [word for name in OPTIONAL for word in ("--enable-optional-test", name)]
    done = subprocess.run(
        [program("kube-score"), "score", manifests, "--kubernetes-version", "v1.37", "--output-format", "ci", *optional],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    told = Counter(line.partition("]")[0].strip("[") for line in done.stdout.splitlines())
    assert set(told) == {"OK", "SKIPPED"}, done.stdout
    assert told["OK"] > 40


@pytest.mark.parametrize("name", rules())
def test_kube_linters_rule_holds(name: str, manifests: Path) -> None:
    found = [it for it in yaml.safe_load_all(manifests.read_text(encoding="utf-8")) if it]
    assert {it["kind"] for it in found} <= KINDS
    assert list(rules()[name](found)) == []


def test_helms_own_lint_is_content() -> None:
    assert "1 chart(s) linted, 0 chart(s) failed" in helm.helm("lint", "--strict", helm.CHART)


def test_nothing_switches_a_scanner_off() -> None:
    text = "".join(path.read_text(encoding="utf-8") for path in (helm.CHART / "templates").rglob("*.*"))
    for word in ("checkov", "kube-linter", "kube-score"):
        assert word not in text
