"""What the trainer is told about the state that it goes on from."""

from dataclasses import dataclass
from typing import Any

from ktrain.history import Commit


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore found."""

    step: int
    meta: dict[str, Any]
    commit: Commit | None  # the newest; older than what comes from memory, or none at all
    fell_back: tuple[str, ...] = ()  # why newer ones were passed over, the newest first
    is_from_memory: bool = False
    metric: float | None = None  # of the copy from memory

    @property
    def origin(self) -> str:
        """For people."""
        return "memory" if self.is_from_memory else "storage"

    @property
    def is_committed(self) -> bool:
        """Whether storage has it."""
        return self.commit is not None and self.commit.step == self.step
