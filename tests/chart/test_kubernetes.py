"""What the chart renders is what Kubernetes and the Prometheus operator know, word for word."""

import subprocess
from pathlib import Path

import kubernetes_validate
import pytest
import yaml

from hack.chart import definitions, helm
from hack.cluster.shell import NeedError
from tests.chart.tools import program
from tests.chart.variants import VARIANTS

VERSIONS = tuple(f"1.{minor}" for minor in range(30, 38))


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("variant", VARIANTS)
def test_each_minor_version_of_kubernetes_takes_it(variant: str, version: str) -> None:
    found = yaml.safe_load_all(helm.text(VARIANTS[variant], monitors=False, kubernetes=version))
    kinds = [kubernetes_validate.validate(it, version, strict=True) for it in found]
    assert len(kinds) >= 3


@pytest.mark.slow
def test_kubeconform_finds_nothing_not_even_in_monitors(tmp_path: Path) -> None:
    monitors = definitions.of_monitors(tmp_path)
    for version in (VERSIONS[0], VERSIONS[-1]):
        path = tmp_path / f"{version}.yaml"
        path.write_text("\n---\n".join(helm.text(values, kubernetes=version) for values in VARIANTS.values()))
        done = subprocess.run(
            [
                program("kubeconform"), "-strict", "-summary", "-kubernetes-version", f"{version}.0",
                "-schema-location", definitions.of_kubernetes(version, tmp_path), "-schema-location", monitors, path,
            ],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 0, done.stdout
        assert "Invalid: 0, Errors: 0, Skipped: 0" in done.stdout


def test_a_kubernetes_that_is_too_old_is_refused() -> None:
    with pytest.raises(NeedError, match=r"requires kubeVersion: >=1\.30\.0-0 which is incompatible"):
        helm.text(kubernetes="1.29")
