"""Which samples are in which part of a split, or in which fold: by hashes, so that a sample stays when others come."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import xxhash

from ktrain.errors import DataError
from ktrain.spec.sampling import Fold, Parting, Split
from ktrain_trainer.columns import column, identity, place
from ktrain_trainer.orders import Numbers
from ktrain_trainer.plan import Indices

_WHERE: Final = "spec.trainer.data"
_GOLDEN: Final = (5**0.5 - 1) / 2


@dataclass(frozen=True)
class View:
    """Some of a dataset's samples; transforms and collate functions are its own, never another view's."""

    source: Any
    indices: Indices

    def __len__(self) -> int:
        return len(self.indices)

    def __getitem__(self, index: int) -> Any:
        return self.source[int(self.indices[index])]

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """As the dataset itself fetches many."""
        own = [int(self.indices[index]) for index in indices]
        many = getattr(self.source, "__getitems__", None)
        return list(many(own)) if many else [self.source[index] for index in own]

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_") or name == "source":
            raise AttributeError(name)
        return getattr(self.source, name)  # classes, fingerprint

    def column(self, name: str) -> list[Any]:
        """One value of each sample."""
        values = column(self.source, name, _WHERE)
        return [values[index] for index in self.indices]

    def identity(self, index: int) -> str:
        """The dataset's own name of it."""
        return identity(self.source, int(self.indices[index]))

    def place(self, index: int) -> str:
        """Where it comes from."""
        return place(self.source, int(self.indices[index]))


def divide(source: Any, split: Split) -> dict[str, View]:
    """train, val and test; DataError when a part that was asked for stays empty."""
    parts = {"train": split.train, "val": split.val, "test": split.test}
    edges = np.cumsum(list(parts.values()))
    edges[-1] = np.inf  # what rounding leaves over
    at = np.searchsorted(edges, positions(source, split, f"{_WHERE}.split"), side="right")
    found = {name: View(source, np.flatnonzero(at == number)) for number, name in enumerate(parts)}
    for name, view in found.items():
        if parts[name] and not len(view):
            raise DataError(
                f"{name} is {parts[name]:g} of {len(source)} samples, which leaves it empty; give it more, or data of its own",
                f"{_WHERE}.split",
            )
    return found


def fold(source: Any, spec: Fold) -> dict[str, View]:
    """train and val; DataError when one of them is empty."""
    where = f"{_WHERE}.fold"
    at = np.minimum((positions(source, spec, where) * spec.k).astype(np.int64), spec.k - 1)
    found = {
        "train": View(source, np.flatnonzero(at != spec.index)),
        "val": View(source, np.flatnonzero(at == spec.index)),
    }
    for name, view in found.items():
        if not len(view):
            raise DataError(
                f"{name} of fold {spec.index} of {spec.k} is empty with {len(source)} samples; lower k", where
            )
    return found


def positions(source: Any, spec: Parting, where: str) -> Numbers:
    """Of each sample a number in [0, 1) that says where it belongs.

    With stratifyBy those of one class are spread evenly instead of by chance, in the order in which they first appear;
    a group belongs to the class of its first sample.
    """
    keys = [identity(source, index) for index in range(len(source))]
    if spec.group_by:
        keys = [str(value) for value in column(source, spec.group_by, f"{where}.groupBy")]
    if not spec.stratify_by:
        hashed = {key: _hash(key, spec.seed) / 2.0**64 for key in set(keys)}
        return np.array([hashed[key] for key in keys])
    classes = column(source, spec.stratify_by, f"{where}.stratifyBy")
    spread: dict[str, float] = {}
    counts: dict[str, int] = defaultdict(int)
    for key, of in zip(keys, map(str, classes), strict=True):
        if key not in spread:
            spread[key] = _spread(counts[of], _hash(of, spec.seed))
            counts[of] += 1
    return np.array([spread[key] for key in keys])


def _hash(key: str, seed: int) -> int:
    return xxhash.xxh3_64_intdigest(key.encode(), seed=seed)


def _spread(nth: int, key: int) -> float:
    """The n-th of an even sequence, the multiples of the golden ratio: evenly for any count of them, from a keyed start."""
    return (key / 2.0**64 + nth * _GOLDEN) % 1.0
