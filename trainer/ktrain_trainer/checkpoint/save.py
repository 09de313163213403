"""Saving."""

from dataclasses import dataclass

from ktrain.history import Commit


@dataclass(frozen=True, slots=True)
class Options:
    """Sizes and limits of a save; the format holds for any of them."""

    object_bytes: int = 32 << 20
    block_bytes: int = 1 << 20
    deadline_seconds: float = 600


class Pending:
    """A save on its way."""

    step: int
    size_bytes: int = 0  # of the whole checkpoint
    stall_seconds: float = 0  # how long save() kept the caller
    seconds: float | None = None  # from save() until committed; None until done

    def done(self) -> bool:
        """Whether it is committed or failed."""
        raise NotImplementedError

    def result(self, timeout: float | None = None) -> Commit:
        """Waits for the outcome; raises what made it fail, TimeoutError when it is not known in time."""
        raise NotImplementedError
