"""What a checkpoint says beside tensors."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from ktrain.errors import CheckpointError

MAX_DEPTH: Final = 100


@dataclass(frozen=True, slots=True)
class Header:
    """Plain JSON; `metric` ranks it among the best."""

    run: str
    step: int
    created: float
    meta: dict[str, Any]
    optimizer: dict[str, Any] | None
    values: dict[str, Any]
    aliases: dict[str, str]
    metric: float | None


def check_meta(meta: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of the trainer's document, as JSON would give it back; CheckpointError when it is none."""
    try:
        copy: dict[str, Any] = json.loads(json.dumps(meta, allow_nan=False))
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointError(f"the checkpoint's meta must be plain JSON: {error}") from error
    if _depth(copy, MAX_DEPTH + 1) > MAX_DEPTH:  # what reads manifests goes not much deeper
        raise CheckpointError(f"the checkpoint's meta is nested more than {MAX_DEPTH} levels deep")
    return copy


def _depth(value: Any, most: int) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return 1 + max((_depth(it, most - 1) for it in inner), default=0) if most else 1
