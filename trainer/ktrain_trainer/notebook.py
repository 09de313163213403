"""`fit(...)`: the job file's trainer as a Python call, for notebooks and small programs."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn
from torch.utils.data import default_collate

from ktrain.errors import SpecError
from ktrain.spec import Trainer
from ktrain_trainer import data, loop, place, rng, task
from ktrain_trainer.assemble import Parts, assemble
from ktrain_trainer.numerics import set_numerics
from ktrain_trainer.progress import Progress
from ktrain_trainer.stop import StopFlag
from ktrain_trainer.streaming import SampleStream, Streamed, is_stream
from ktrain_trainer.world import World


@dataclass
class History:
    """A sink that keeps the records in memory."""

    records: list[Mapping[str, Any]] = field(default_factory=list)

    def write(self, record: Mapping[str, Any]) -> None:
        """Keeps it."""
        self.records.append(record)

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing is open."""


@dataclass(frozen=True)
class Fitted:
    """How the run ended: the model itself was trained in place."""

    progress: Progress
    records: list[Mapping[str, Any]]
    was_stopped: bool

    @property
    def metrics(self) -> Mapping[str, float]:
        """The last evaluation, by name."""
        return self.progress.metrics

    def curve(self, name: str = "loss") -> list[tuple[int, float]]:
        """(step, value) of every record that has it: loss, lr, grad_norm, or a metric such as val/loss."""
        values = ((record["step"], {**record, **record.get("values", {})}.get(name)) for record in self.records)
        return [(step, value) for step, value in values if value is not None]


def fit(
    model: nn.Module,
    train: data.Source | SampleStream,
    *,
    duration: str,
    batch: Mapping[str, int],
    optim: Mapping[str, Any],
    loss: str | task.LossFunction | task.Task = "cross_entropy",
    val: data.Source | None = None,
    collate: data.Collate | None = None,
    storage: str | None = None,
    name: str = "fit",
    fresh: bool = False,
    **spec: Any,
) -> Fitted:
    """Trains the model in place; with `storage`, saves there, and a second call with the same name resumes.

    batch is {"global": …, "micro": …}, optim {"name": …, "lr": …}; loss is a short name, a function
    (output, target, reduction="sum"), or a Task. Further keys are those of `trainer:` in the job file (`schedule`,
    `eval`, `checkpoint`, `seed`, …). Errors are KtrainErrors. Under torchrun all ranks call it alike.
    """
    trainer = _spec(duration=duration, batch=batch, optim=optim, val=val, loss=loss, **spec)
    set_numerics(trainer)
    world = World.join()
    document = {"trainer": trainer.model_dump(mode="json", by_alias=True)}
    where = place.claim(storage, name, world, fresh=fresh, document=document) if storage else place.nowhere()
    history = History()
    with StopFlag().listening() as stop:
        run = assemble(
            trainer, _parts(trainer, model, train, val, collate, loss), world, where,
            stop=stop, document=document, sinks=[history],
        )  # fmt: skip
        try:
            loop.train(run)
        finally:
            run.journal.close()
    return Fitted(run.progress, history.records, run.is_stopping)


def _spec(*, val: Any, loss: Any, **keys: Any) -> Trainer:
    """The user's objects have no import path; what they are is told by name only."""
    here = {"use": "notebook:given"}
    if isinstance(loss, str):
        keys["task"] = {"loss": {"use": loss}}
    try:
        return Trainer.model_validate(
            {"model": here, "data": {"train": here, "val": here if val is not None else None}, **keys}
        )
    except ValueError as error:
        raise SpecError(f"fit(): {error}") from error


def _parts(spec: Trainer, model: nn.Module, train: Any, val: Any, collate: data.Collate | None, loss: Any) -> Parts:
    def loader(source: Any, where: str) -> data.Loader:
        if where == "train" and is_stream(source):
            source = Streamed(source, spec.data.buffer)
        fetch = data.Fetch(data.check_source(source, where), collate or default_collate, spec.seed)
        return data.Loader(fetch)

    return Parts(model, _task(spec, loss), loader(train, "train"), loader(val, "val") if val is not None else None)


def _task(spec: Trainer, loss: Any) -> task.Task:
    if isinstance(loss, str):
        return task.make(spec.task)
    if isinstance(loss, task.Supervised | task.CausalLM):
        return loss
    if _is_task(loss):
        return loss  # type: ignore[no-any-return]
    return task.Supervised(loss, {}, over_classes=False)


def _is_task(loss: Callable[..., Any]) -> bool:
    names = list(inspect.signature(loss).parameters)
    return names[:2] == ["model", "batch"]


def seed_model(seed: int) -> None:
    """Call before building a model, for initial weights that depend on nothing but the seed."""
    rng.seed_all(rng.key(seed, rng.INIT))
