"""The metrics of one evaluation: updated on each rank, merged and computed on rank 0, the same values for all."""

import warnings
from collections.abc import Mapping
from typing import Any

import torch
import torch.distributed as dist

from ktrain.errors import BuildError
from ktrain_trainer.metrics.merge import Recorder, State, merge
from ktrain_trainer.metrics.registry import Built, make
from ktrain_trainer.tasks.out import Seen
from ktrain_trainer.world import World

Values = dict[str, float]
Details = dict[str, Any]


class Metrics:
    """What `eval.metrics` asks for; nothing is kept between micro-batches but what a metric itself keeps."""

    def __init__(self, spec: Mapping[str, Mapping[str, Any]]) -> None:
        self._spec = spec
        self._built: dict[str, Built] = {}
        self._recorders: dict[str, Recorder] = {}
        self._updates = 0
        self._device: torch.device | None = None

    def __bool__(self) -> bool:
        return bool(self._spec)

    def reset(self) -> None:
        """Before an evaluation."""
        self._updates = 0
        for name, it in self._built.items():
            it.metric.reset()
            it.metric.to(self._device or "cpu")
            self._recorders[name] = Recorder(it.metric)

    def update(self, seen: Seen | None, index: int) -> None:
        """Adds micro-batch `index`; BuildError when the task gives what a metric cannot use."""
        if not self._spec:
            return
        if seen is None:
            raise BuildError(
                "this task does not say what it saw; return Out(..., seen=Seen(outputs, targets)) while evaluating, or "
                "remove eval.metrics",
                "spec.trainer.task.use",
            )
        if not self._built:
            self._build(seen)
        self._updates += 1
        for name, it in self._built.items():
            it.update(seen)
            self._recorders[name].updated(index)

    def compute(self, world: World) -> tuple[Values, Details]:
        """Numbers and everything that is more than a number, by name. A collective; rank 0 always has a batch."""
        if not self._spec:
            return {}, {}
        mine = (self._updates, {name: it.states() for name, it in self._recorders.items()} if self._updates else {})
        gathered = _gather(mine, world)
        return tuple(world.share(self._compute(gathered) if world.is_first else None))

    def preview(self) -> list[str]:
        """Names of the numbers, by what there is so far; then forgets it."""
        with warnings.catch_warnings():
            warnings.simplefilter(
                "ignore"
            )  # a metric may miss classes: this is one micro-batch, and only the names count
            names = [name for it in self._built for name in _tell(it, self._built[it].metric.compute())[0]]
        self.reset()
        return names

    def _build(self, seen: Seen) -> None:
        for name, given in self._spec.items():
            built = make(name, given, seen)
            for part in built.metric.modules():
                part._to_sync = part.sync_on_compute = False  # merged here, in the order of samples
            self._built[name] = built
        self._device = seen.outputs.device if isinstance(seen.outputs, torch.Tensor) else None
        self.reset()

    def _compute(self, gathered: list[tuple[int, dict[str, list[dict[str, State]]]]]) -> tuple[Values, Details]:
        values: Values = {}
        details: Details = {}
        updates = sum(count for count, _ in gathered)
        for name, it in self._built.items():
            merge(it.metric.cpu(), [states[name] for count, states in gathered if count], updates)
            numbers, more = _tell(name, it.metric.compute())
            values.update(numbers)
            details.update(more)
        return values, details


def _gather(mine: Any, world: World) -> list[Any]:
    if world.size == 1:
        return [mine]
    gathered: list[Any] | None = [None] * world.size if world.is_first else None
    dist.gather_object(mine, gathered, dst=0, group=world.control)
    return gathered or []


def _tell(name: str, result: Any) -> tuple[Values, Details]:
    """A scalar under the metric's name; the parts of a mapping under theirs, behind it; all else as a detail."""
    named = {name: result}
    if isinstance(result, Mapping):
        named = {key if str(key).startswith(name) else f"{name}_{key}": it for key, it in result.items()}
    values: Values = {}
    details: Details = {}
    for key, it in named.items():
        plain = it.tolist() if isinstance(it, torch.Tensor) else it
        if isinstance(plain, int | float) and not key.endswith("_classes"):
            values[key] = float(plain)
        else:
            details[key] = plain
    return values, details
