"""The golden renders; after a change on purpose: `python -m tests.chart.goldens`."""

from pathlib import Path
from typing import Final

from hack.chart import helm
from tests.chart.variants import VARIANTS

FOLDER: Final = Path(__file__).parent / "golden"
NAMES: Final = ("default", "namespaced", "everything")


def rendered(name: str) -> str:
    """Without what lies under files/, which has tests of its own and would drown the rest."""
    off = {"enabled": False}
    values = VARIANTS[name]
    return helm.text({**values, "alerts": off, "dashboards": off})


def main() -> None:
    """Writes them."""
    for name in NAMES:
        (FOLDER / f"{name}.yaml").write_text(rendered(name), encoding="utf-8")


if __name__ == "__main__":
    main()
