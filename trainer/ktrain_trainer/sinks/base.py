"""What the loop asks of a sink."""

from collections.abc import Mapping
from typing import Any, Protocol


class Sink(Protocol):
    """Takes records without making a step wait, and never stops training because it cannot keep them."""

    def write(self, record: Mapping[str, Any]) -> None:
        """Takes one record: JSON values, with `kind`, `time`, `step` and what belongs to its kind."""

    def flush(self) -> None:
        """Sends on what waits."""

    def close(self) -> None:
        """Sends on what waits, and waits for it, but not for ever."""
