"""What the loop asks of a sink, and the numbers in a record."""

from collections.abc import Mapping
from typing import Any, Final, Protocol

Record = Mapping[str, Any]
_OF_A_STEP: Final = (
    "loss", "lr", "grad_norm", "samples_per_second", "tokens_per_second", "step_seconds", "data_seconds",
)  # fmt: skip


class Sink(Protocol):
    """Takes records without making a step wait, and never stops training because it cannot keep them."""

    def write(self, record: Record) -> None:
        """Takes one record: JSON values, with `kind`, `time`, `step` and what belongs to its kind."""

    def flush(self) -> None:
        """Sends on what waits."""

    def close(self) -> None:
        """Sends on what waits, and waits for it, but not for ever."""


def scalars(record: Record) -> dict[str, float]:
    """The numbers of a step (as train/…) or of an evaluation, by the names that every tracker shows; none of other kinds."""
    if record["kind"] == "step":
        found = {f"train/{name}": record.get(name) for name in _OF_A_STEP}
    elif record["kind"] == "eval":
        found = dict(record["values"])
    else:
        found = {}
    return {name: value for name, value in found.items() if isinstance(value, int | float)}
