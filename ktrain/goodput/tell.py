"""Where the time of a job went, and what it cost, in words and numbers for people."""

from dataclasses import dataclass
from typing import Any, Final

from ktrain.goodput.account import BADPUT, PRODUCTIVE
from ktrain.goodput.total import Total
from ktrain.progress import length
from ktrain.units import counted

SHOWN: Final = 5
WORTH_TELLING: Final = 0.5  # seconds


@dataclass(frozen=True, slots=True)
class Spent:
    """Time, on so many GPUs. A price is that of one GPU for one hour."""

    time: Total
    gpus: int

    def lines(self, price: float | None) -> list[str]:
        """`goodput 81.2 % of 12m10s: queue 1m02s, start 34s; 13s in no checkpoint yet`, and the cost."""
        found = self.time
        ratio = "unknown" if found.ratio is None else f"{100 * found.ratio:.1f} %"
        lost = [f"{words(it)} {length(seconds)}" for it, seconds in found.badput.items() if seconds >= WORTH_TELLING]
        told = f"goodput {ratio} of {length(found.wall)}" + (f": {', '.join(lost[:SHOWN])}" if lost else "")
        told += f"; {length(found.pending)} in no checkpoint yet" if found.pending >= WORTH_TELLING else ""
        if price is None:
            return [told]
        cost = self.cost(price)
        return [told, f"cost {cost['total']:,.2f}, of which {cost['badput']:,.2f} badput ({counted(self.gpus, 'GPU')})"]

    def numbers(self, price: float | None) -> dict[str, Any]:
        """For `-o json`."""
        found = self.time
        told: dict[str, Any] = {
            "ratio": found.ratio,
            "wall_seconds": found.wall,
            "productive_seconds": found.seconds[PRODUCTIVE],
            "badput_seconds": {reason: found.seconds[reason] for reason in BADPUT},
            "uncommitted_seconds": found.pending,
        }
        return told if price is None else told | {"cost": self.cost(price)}

    def cost(self, price: float) -> dict[str, float]:
        """So far, and how much of it was badput."""
        hourly = self.gpus * price / 3600
        return {"total": self.time.wall * hourly, "badput": sum(self.time.badput.values()) * hourly}


def words(reason: str) -> str:
    """A reason as people write it."""
    return reason.replace("_", " ")
