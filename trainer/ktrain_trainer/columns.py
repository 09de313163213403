"""One value of every sample: labels, groups, lengths, weights."""

from collections.abc import Mapping
from typing import Any, Final

from ktrain.errors import DataError

_PAIR: Final = ("input", "target")


def column(source: Any, name: str, where: str) -> list[Any]:
    """The dataset's own word (a method column(name)), else the samples are read one by one."""
    own = getattr(source, "column", None)
    if callable(own):
        found: list[Any] = list(own(name))
        if len(found) != len(source):
            raise DataError(f"column({name!r}) has {len(found)} values, but the dataset {len(source)} samples", where)
        return found
    first = source[0]
    if isinstance(first, Mapping) and name in first:
        return [_plain(source[index][name]) for index in range(len(source))]
    if isinstance(first, tuple | list) and len(first) == 2 and name in _PAIR:
        at = _PAIR.index(name)
        return [_plain(source[index][at]) for index in range(len(source))]
    raise DataError(
        f"{type(source).__name__} has no column {name!r}; give it a method column(name), or samples that are mappings "
        "(of pairs the columns are input and target)",
        where,
    )


def identity(source: Any, index: int) -> str:
    """A name that the sample keeps when others come; of a dataset that gives none its number."""
    own = getattr(source, "identity", None)
    return str(own(index)) if callable(own) else str(index)


def place(source: Any, index: int) -> str:
    """Where a sample comes from, for messages."""
    own = getattr(source, "place", None)
    return str(own(index)) if callable(own) else f"sample {index}"


def _plain(value: Any) -> Any:
    return value.item() if getattr(value, "ndim", None) == 0 else value
