"""Writes the dashboards into the chart: `make dashboards`."""

from pathlib import Path
from typing import Final

from hack.dashboards.boards import BOARDS

FOLDER: Final = Path(__file__).parents[2] / "deploy" / "helm" / "ktrain" / "files" / "dashboards"


def main() -> None:
    """One file each."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    for board in BOARDS:
        (FOLDER / f"{board.name}.json").write_text(board.render(), encoding="utf-8")


if __name__ == "__main__":
    main()
