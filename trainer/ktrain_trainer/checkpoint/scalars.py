"""Optimizer values that are no tensors, as strict JSON: infinities and NaN included."""

import math
from typing import Any

from ktrain.errors import CheckpointError


def pack(value: Any, where: str) -> Any:
    """The value as JSON; raises CheckpointError for what has no exact form."""
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, tuple | list):
        return [pack(item, where) for item in value]
    raise CheckpointError(
        f"{where} is a {type(value).__name__}, ktrain can store tensors, numbers, texts and lists of them; "
        "keep it out of the optimizer's state or make it one of these"
    )


def unpack(value: Any) -> Any:
    """The value that was packed; a tuple comes back as a list."""
    if isinstance(value, dict):
        return float(value["float"])
    if isinstance(value, list):
        return [unpack(item) for item in value]
    return value
