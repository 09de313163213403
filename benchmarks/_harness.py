"""What every benchmark shares: a table on the terminal and a result file, with the machine that it was made on."""

import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

RESULTS: Final = Path(__file__).parent / "results"


@dataclass(frozen=True, slots=True)
class Row:
    """One figure beside its peer and its goal. Smaller is better; ratio is ours over the peer's."""

    metric: str
    ours: float
    unit: str
    peer: float | None = None
    peer_name: str = ""
    goal: str = ""
    holds: bool | None = None

    @property
    def ratio(self) -> float | None:
        """ours / peer."""
        return self.ours / self.peer if self.peer else None


def machine() -> str:
    """For the result file: what the figures were measured on."""
    return f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"


def publish(name: str, rows: Sequence[Row], *, note: str) -> None:
    """Prints the table and writes results/<name>.json."""
    print(f"\n{name}: {note}\n")
    print(f"{'metric':<44}{'ours':>10}{'peer':>10}  {'':<22}{'ratio':>6}  goal")
    for row in rows:
        peer = f"{row.peer:10.1f}" if row.peer is not None else " " * 10
        ratio = f"{row.ratio:6.2f}" if row.ratio else " " * 6
        verdict = {True: "holds", False: "MISSED", None: ""}[row.holds]
        print(f"{row.metric:<44}{row.ours:10.1f}{peer}  {row.peer_name:<22}{ratio}  {row.goal} {verdict}")
    RESULTS.mkdir(exist_ok=True)
    document = {"machine": machine(), "note": note, "rows": [{**asdict(row), "ratio": row.ratio} for row in rows]}
    (RESULTS / f"{name}.json").write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
