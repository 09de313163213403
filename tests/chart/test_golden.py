"""What the chart renders changes on purpose only."""

import pytest

from hack.chart import helm
from tests.chart.goldens import FOLDER, NAMES, rendered
from tests.chart.variants import VARIANTS


@pytest.mark.parametrize("name", NAMES)
def test_the_render_is_the_golden_one(name: str) -> None:
    assert rendered(name) == (FOLDER / f"{name}.yaml").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", VARIANTS)
def test_twice_the_same_is_rendered(name: str) -> None:
    assert helm.text(VARIANTS[name]) == helm.text(VARIANTS[name])
