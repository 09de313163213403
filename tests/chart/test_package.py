"""A package carries the code's version and its image's digest, and nothing that is not installed."""

import tarfile
from pathlib import Path

import pytest
import yaml

from hack.chart import helm
from hack.chart.package import package
from hack.cluster.shell import NeedError
from ktrain import __version__

DIGEST = f"sha256:{'1' * 64}"


def test_what_was_built_is_what_is_installed(tmp_path: Path) -> None:
    chart = package(tmp_path, digest=DIGEST, repository="registry.example/controller")
    found = helm.one(helm.objects(chart=chart), "Deployment")
    (container,) = found["spec"]["template"]["spec"]["containers"]
    assert container["image"] == f"registry.example/controller@{DIGEST}"
    assert found["metadata"]["labels"]["app.kubernetes.io/version"] == __version__


def test_what_nobody_could_install_is_not_packaged(tmp_path: Path) -> None:
    with pytest.raises(NeedError, match=r"image\.repository: Does not match pattern"):
        package(tmp_path, digest=DIGEST, repository="registry.example/controller:1")
    assert list(tmp_path.iterdir()) == []


def test_the_chart_in_the_tree_has_the_codes_version_too() -> None:
    told = yaml.safe_load((helm.CHART / "Chart.yaml").read_text(encoding="utf-8"))
    assert (told["version"], told["appVersion"]) == (__version__, __version__)


def test_its_own_tests_stay_at_home(tmp_path: Path) -> None:
    with tarfile.open(package(tmp_path)) as file:
        names = file.getnames()
    assert "ktrain/templates/tests/check.yaml" in names
    assert [name for name in names if name.endswith("_test.yaml")] == []
    assert {"ktrain/README.md", "ktrain/values.schema.json"} <= set(names)
