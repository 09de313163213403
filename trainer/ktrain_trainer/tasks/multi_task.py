"""Several tasks on one model with heads, each target weighted by its task."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn
from torch.utils.data import default_collate

from ktrain.errors import BuildError, DataError
from ktrain.spec.common import Use
from ktrain.spec.task import Loss
from ktrain_trainer import build, losses
from ktrain_trainer.tasks.out import Out
from ktrain_trainer.tasks.supervised import Supervised

_WHERE = "spec.trainer.task.args"


@dataclass(frozen=True)
class MultiTask:
    """Batches are mappings task → (inputs, targets), for which the model is called as model(inputs, task=name); or pairs
    (inputs, {task: targets}), where model(inputs) gives {task: outputs}.

    Every micro-batch holds something of each task, in the order of the job file: so all ranks run the same heads at the
    same time, as sharded heads demand. The loss is the mean over all targets, each counted `weight` times: with equally
    many targets of each task, and weights that sum to 1, the weighted sum of the tasks' means.
    """

    tasks: Mapping[str, Supervised]
    weights: Mapping[str, float]

    def __call__(self, model: nn.Module, batch: Any) -> Out:
        outs = self._separate(model, batch) if isinstance(batch, Mapping) else self._together(model, batch)
        loss_sum = torch.stack([self.weights[name] * out.loss_sum.float() for name, out in outs.items()]).sum()
        weight = sum(self.weights[name] * float(out.weight) for name, out in outs.items())
        if torch.is_grad_enabled():
            return Out(loss_sum, weight)
        logs = {f"{name}_loss": (out.loss_sum, out.weight) for name, out in outs.items()}
        logs |= {f"{name}_{log}": value for name, out in outs.items() for log, value in out.logs.items()}
        return Out(loss_sum, weight, logs)

    def _separate(self, model: nn.Module, batch: Mapping[str, Any]) -> dict[str, Out]:
        _check(self.tasks, batch, "the batch")
        return {
            name: task.compare(model(batch[name][0], task=name), batch[name][1], _weigh(task, batch[name][1]))
            for name, task in self.tasks.items()
        }

    def _together(self, model: nn.Module, batch: Any) -> dict[str, Out]:
        if not (isinstance(batch, tuple | list) and len(batch) == 2 and isinstance(batch[1], Mapping)):
            raise BuildError(
                "the multi_task task wants batches {task: (inputs, targets)} or (inputs, {task: targets}), but got a "
                f"{type(batch).__name__}",
                "spec.trainer.task",
            )
        inputs, targets = batch
        _check(self.tasks, targets, "the batch's targets")
        weights = {name: _weigh(task, targets[name]) for name, task in self.tasks.items()}
        outputs = model(inputs)
        _check(self.tasks, outputs, "the model's outputs")
        return {name: task.compare(outputs[name], targets[name], weights[name]) for name, task in self.tasks.items()}


def make(tasks: Mapping[str, Mapping[str, Any]]) -> MultiTask:
    """From task.args: name → {loss: {use, args}, weight}; BuildError names what is wrong."""
    if not tasks:
        raise BuildError("there are no tasks; write name: {loss: {use: …}, weight: …} for each", f"{_WHERE}.tasks")
    made, weights = {}, {}
    for name, given in tasks.items():
        for key in given:
            if key not in {"loss", "weight"}:
                raise BuildError(f"a task has loss and weight, and no {key!r}", f"{_WHERE}.tasks.{name}")
        kind, args = losses.find(_loss(given.get("loss", {}), f"{_WHERE}.tasks.{name}.loss"))
        made[name] = Supervised(kind.function, args, kind.over_classes, kind)
        weights[name] = _number(given.get("weight", 1.0), f"{_WHERE}.tasks.{name}.weight")
    return MultiTask(made, weights)


@dataclass(frozen=True)
class Mixed:
    """A dataset of several: sample i has `take` samples of each, of those that are shorter again from their beginning.

    An epoch sees each sample of the longest at least once. Used with Collate, it gives batches {task: (inputs, targets)}.
    """

    sources: Mapping[str, Any]
    take: Mapping[str, int] = field(default_factory=dict)
    _built: dict[str, Any] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        for name, source in self.sources.items():
            made = (
                build.construct(Use.model_validate(source), f"sources.{name}") if "use" in _mapping(source) else source
            )
            if not len(made):
                raise DataError(f"sources.{name} is empty; check its path and arguments")
            self._built[name] = made
        for name, count in self.take.items():
            if name not in self.sources or count < 1:
                raise DataError(f"take.{name} is {count}; it must be 1 or more of one of {', '.join(self.sources)}")

    def __len__(self) -> int:
        return max(-(-len(it) // self.take.get(name, 1)) for name, it in self._built.items())

    def __getitem__(self, index: int) -> dict[str, list[Any]]:
        return {name: [it[at % len(it)] for at in self._places(name, index)] for name, it in self._built.items()}

    def _places(self, name: str, index: int) -> range:
        count = self.take.get(name, 1)
        return range(index * count, (index + 1) * count)


@dataclass(frozen=True)
class Collate:
    """Makes one batch per task of what Mixed gives, by torch's collate function or those of `by`: task → {use, args}."""

    by: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    _built: dict[str, Callable[[list[Any]], Any]] = field(default_factory=dict, init=False, repr=False)

    def __post_init__(self) -> None:
        for name, use in self.by.items():
            self._built[name] = build.construct(Use.model_validate(use), f"spec.trainer.data.collate.args.by.{name}")

    def __call__(self, samples: Sequence[Mapping[str, list[Any]]]) -> dict[str, Any]:
        names = samples[0].keys()
        return {
            name: self._built.get(name, default_collate)([it for sample in samples for it in sample[name]])
            for name in names
        }


def _weigh(task: Supervised, targets: torch.Tensor) -> float:
    return losses.weigh(targets, task.args) if task.over_classes else 0.0


def _check(tasks: Mapping[str, Any], found: Any, what: str) -> None:
    has = list(found) if isinstance(found, Mapping) else None
    if has is None or any(name not in has for name in tasks):
        told = f"has {', '.join(map(str, has))}" if has is not None else f"is a {type(found).__name__}"
        raise BuildError(
            f"the tasks are {', '.join(tasks)}, but {what} {told}; give one entry per task", f"{_WHERE}.tasks"
        )


def _loss(given: Mapping[str, Any], where: str) -> Loss:
    try:
        return Loss.model_validate(given)
    except ValueError as error:
        raise BuildError(f"{given!r} is no loss; write use and args: {error}", where) from error


def _number(value: Any, where: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not value > 0:
        raise BuildError(f"weight is {value!r}; it must be a number above 0", where)
    return float(value)


def _mapping(source: Any) -> Mapping[str, Any]:
    return source if isinstance(source, Mapping) else {}
