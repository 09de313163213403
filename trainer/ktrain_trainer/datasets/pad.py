"""Sequences of unequal length in one batch."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch.utils.data import default_collate

from ktrain.errors import DataError

_LABELS: Final = frozenset({"labels", "target"})


@dataclass(frozen=True)
class Pad:
    """Fills the first dimension of tensors up to the longest, rounded up to `multiple`.

    value: for inputs; labels: for labels, and for targets of pairs; mask: adds attention_mask (1: a token) beside
    input_ids. Lists of numbers count as tensors, everything else is collated as torch does.
    """

    value: float = 0
    labels: float = -100
    multiple: int = 1
    mask: bool = False

    def __call__(self, samples: list[Any]) -> Any:
        """Mappings become a mapping, pairs a pair, tensors a tensor (batch, longest, …)."""
        first = samples[0]
        if isinstance(first, Mapping):
            batch = {name: self._of([sample[name] for sample in samples], name) for name in first}
            return {**batch, **self._mask([sample["input_ids"] for sample in samples])} if self.mask else batch
        if isinstance(first, tuple) and len(first) == 2:
            inputs, targets = zip(*samples, strict=True)
            return self._of(list(inputs), "input"), self._of(list(targets), "target")
        return self._of(samples, "input")

    def _of(self, values: list[Any], name: str) -> Any:
        values = [torch.tensor(it) if _is_numbers(it) else it for it in values]
        if not isinstance(values[0], torch.Tensor) or values[0].dim() == 0:
            return default_collate(values)
        if len({it.shape[1:] for it in values}) > 1:
            raise DataError(
                f"{name!r} of one batch differs in more than its length: {[tuple(it.shape) for it in values]}"
            )
        size = self._size(values)
        fill = self.labels if name in _LABELS else self.value
        padded = values[0].new_full((len(values), size, *values[0].shape[1:]), fill)
        for row, value in zip(padded, values, strict=True):
            row[: len(value)] = value
        return padded

    def _mask(self, values: list[Any]) -> dict[str, torch.Tensor]:
        lengths = torch.tensor([len(it) for it in values])
        return {"attention_mask": (torch.arange(self._size(values)) < lengths[:, None]).long()}

    def _size(self, values: list[Any]) -> int:
        return -(-max(len(it) for it in values) // self.multiple) * self.multiple


def _is_numbers(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(it, int | float) for it in value)
