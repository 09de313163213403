"""A work queue whose workers go home when there is nothing to do now."""

from collections.abc import Callable
from typing import Final

from ktrain_controller.queue import WorkQueue

MAX_LOOKS: Final = 100  # between two resets


class Queue(WorkQueue):
    """The test starts them again."""

    def __init__(self, clock: Callable[[], float], chance: Callable[[], float]) -> None:
        super().__init__(clock=clock, chance=chance)
        self.taken = 0

    def take(self) -> str | None:
        """None, too, when nothing is ready."""
        self.taken += 1
        assert self.taken < MAX_LOOKS, "the same jobs are looked at without end"
        return super().take() if self.depth else None
