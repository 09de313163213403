"""Several datasets as one, one behind the other."""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

from ktrain.errors import DataError
from ktrain_trainer.columns import place
from ktrain_trainer.data import fingerprint


@dataclass(frozen=True)
class Joined:
    """Numbers go on from dataset to dataset. tag: key of the samples that gets the dataset's name."""

    parts: Mapping[str, Any]
    tag: str | None = None

    @property
    def sizes(self) -> list[int]:
        """Samples of each."""
        return [len(part) for part in self.parts.values()]

    def __len__(self) -> int:
        return sum(self.sizes)

    def __getitem__(self, index: int) -> Any:
        name, own = self._find(index)
        sample = self.parts[name][own]
        if self.tag is None:
            return sample
        if not isinstance(sample, Mapping):
            raise DataError(
                f"samples of {name!r} are {type(sample).__name__}s, which cannot take the key {self.tag!r}; make them mappings",
                "spec.trainer.data.mix.tag",
            )
        return {**sample, self.tag: name}

    def place(self, index: int) -> str:
        """Where it comes from."""
        name, own = self._find(index)
        return place(self.parts[name], own)

    def peers(self, index: int) -> range:
        """Who may stand in for a sample: those of its own dataset."""
        name, own = self._find(index)
        return range(index - own, index - own + len(self.parts[name]))

    def fingerprint(self) -> str:
        """Of all of them."""
        return str([sorted(fingerprint(part).items(), key=str) for part in self.parts.values()])

    def _find(self, index: int) -> tuple[str, int]:
        ends: Sequence[int] = list(accumulate(self.sizes))
        number = bisect_right(ends, index)
        return list(self.parts)[number], index - (ends[number - 1] if number else 0)
