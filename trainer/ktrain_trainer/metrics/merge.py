"""States of a metric on several ranks, made one: sums by their sum, lists in the order of the samples.

torchmetrics' own way gathers by collectives in the order of ranks, and waits for ever where a rank has no batch.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

Pieces = list[tuple[int, list[Any]]]
"""What a list state has grown by, with the number of the micro-batch."""


@dataclass(frozen=True, slots=True)
class State:
    """One state of a metric on one rank: a tensor, or the pieces of a list."""

    tensor: torch.Tensor | None
    pieces: Pieces


def parts(metric: Any) -> list[Any]:
    """The metric and those within it, always in the same order."""
    from torchmetrics import Metric

    return [it for it in metric.modules() if isinstance(it, Metric)]


def sizes(metric: Any) -> list[dict[str, int]]:
    """How long each list is now."""
    return [
        {name: len(it) for name in part._defaults if isinstance(it := getattr(part, name), list)}
        for part in parts(metric)
    ]


class Recorder:
    """Remembers which micro-batch made each list of a metric grow."""

    def __init__(self, metric: Any) -> None:
        self._metric = metric
        self._ends: list[tuple[int, list[dict[str, int]]]] = []

    def updated(self, index: int) -> None:
        """After the update with micro-batch `index`."""
        self._ends.append((index, sizes(self._metric)))

    def states(self) -> list[dict[str, State]]:
        """Of each part of the metric, on the CPU."""
        return [
            {name: self._state(at, name, getattr(part, name)) for name in part._defaults}
            for at, part in enumerate(parts(self._metric))
        ]

    def _state(self, at: int, name: str, value: Any) -> State:
        if isinstance(value, torch.Tensor):
            return State(value.cpu(), [])
        pieces: Pieces = []
        begin = 0
        for index, ends in self._ends:
            end = ends[at][name]
            pieces.append((index, [_cpu(it) for it in value[begin:end]]))
            begin = end
        return State(None, pieces)


def merge(metric: Any, ranks: Sequence[list[dict[str, State]]], updates: int) -> None:
    """Gives the metric the state that it would have on a single rank."""
    for at, part in enumerate(parts(metric)):
        for name, reduction in part._reductions.items():
            setattr(part, name, _merged([states[at][name] for states in ranks], reduction))
        part._update_count = updates
        part._computed = None


def _merged(states: Sequence[State], reduction: Any) -> Any:
    if states[0].tensor is None:
        pieces = sorted((piece for state in states for piece in state.pieces), key=lambda it: it[0])
        return [item for _, items in pieces for item in items]
    tensors = [state.tensor for state in states if state.tensor is not None]
    if len(tensors) == 1:
        return tensors[0]
    whole = torch.stack(tensors)
    return whole if reduction is None else reduction(whole)


def _cpu(item: Any) -> Any:
    if isinstance(item, torch.Tensor):
        return item.cpu()
    return type(item)(_cpu(it) for it in item) if isinstance(item, tuple | list) else item
