"""Who stopped first: when one rank hangs, all others wait for it, and each launcher sees its own stand still. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

SETTLE_SECONDS: Final = 3.0  # launchers notice at about the same time
PATIENCE_SECONDS: Final = 15.0  # whose rank it is deals with it; if not, whoever is left does

_WORDS: Final = {"T": "stopped by a signal", "t": "stopped by a debugger", "D": "waiting for a device or a disk"}


@dataclass(frozen=True, slots=True)
class Suspect:
    """A rank that makes no step, as its launcher sees it."""

    node: int
    rank: int
    step: int
    phase: str
    seconds: float  # that it may stand still
    process: str = ""  # its state as the kernel has it; empty where that cannot be asked

    @property
    def message(self) -> str:
        """For people."""
        told = _WORDS.get(self.process, "")
        return f"rank {self.rank} made no step for {self.seconds:g} s (step {self.step}, phase {self.phase}{', ' * bool(told)}{told})"


def worst(suspects: Iterable[Suspect]) -> Suspect:
    """The one that the others wait for: a stopped process before one that waits, then the one that got least far."""
    order = {"T": 0, "t": 0, "D": 1}
    return min(suspects, key=lambda it: (order.get(it.process, 2), it.step, it.rank))
