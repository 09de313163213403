"""Everything that one rank's training loop holds in its hands."""

import logging
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from ktrain.spec import Trainer
from ktrain_trainer import loss_scale
from ktrain_trainer.average import Ema
from ktrain_trainer.compiled import Compiled
from ktrain_trainer.data import Batch, Loader, Steps
from ktrain_trainer.freeze import Freezer
from ktrain_trainer.journal import Journal
from ktrain_trainer.length import Length
from ktrain_trainer.long_steps import LongSteps
from ktrain_trainer.meter import Meter
from ktrain_trainer.metrics import Metrics
from ktrain_trainer.numerics import autocast
from ktrain_trainer.parallel import Parallel
from ktrain_trainer.plan import Cut, Stream
from ktrain_trainer.predictions import Predictions
from ktrain_trainer.probe import Probe
from ktrain_trainer.profiler import Profiler
from ktrain_trainer.progress import Progress
from ktrain_trainer.rate import Rate
from ktrain_trainer.saving import Saving, State
from ktrain_trainer.stop import StopFlag
from ktrain_trainer.streaming import Streamed
from ktrain_trainer.task import Task
from ktrain_trainer.uncompiled import backward
from ktrain_trainer.world import World

log = logging.getLogger("ktrain")


@dataclass(frozen=True)
class Feed:
    """A dataset with the way to fetch it."""

    loader: Loader
    stream: Stream
    micro: int
    num_samples: int

    def cut(self, world: World) -> Cut:
        """This rank's share."""
        return Cut(self.micro, world.rank, world.size)


@dataclass
class Run:
    """Built objects and the state of the loop; what is fixed comes first."""

    spec: Trainer
    world: World
    parallel: Parallel
    task: Task
    optimizer: torch.optim.Optimizer
    train: Feed
    val: Feed | None
    length: Length
    rate: Rate
    freezer: Freezer
    ema: Ema | None
    saving: Saving
    journal: Journal
    meter: Meter
    stop: StopFlag
    profiler: Profiler
    long_steps: LongSteps
    about: Mapping[str, Any] = field(default_factory=dict)  # versions, device, …: for the record of the start
    compiled: Compiled | None = None
    split: str = "val"  # what is evaluated on
    metrics: Metrics = field(default_factory=lambda: Metrics({}))
    predictions: Predictions | None = None
    details: Mapping[str, Any] = field(default_factory=dict)  # of the newest evaluation: what is more than a number
    progress: Progress = field(default_factory=Progress)
    steps: Steps | None = None
    is_stopping: bool = False  # agreed by all ranks
    probe: Probe | None = None  # what trainer.debug asks for
    ended_at_rate: float | None = None  # of a run that was at its end, until its first step after that
    filler: Batch | None = None  # any batch, for ranks that must run a forward pass with nothing to do
    loss_sum: Any = 0.0  # since the last record, on the device
    loss_weight: float = 0.0
    skipped: set[str] = field(default_factory=set)  # samples of this rank that could not be read, each told once
    new_skipped: int = 0  # since the last record
    _units: dict[tuple[torch.dtype, float], torch.Tensor] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Parameters as the optimizer knows them: those of the model are others while shards are gathered."""
        self.params: list[torch.Tensor] = list(self.parallel.model.parameters())

    @property
    def model(self) -> torch.nn.Module:
        """The model, spread or not."""
        return self.parallel.model

    @property
    def state(self) -> State:
        """What a checkpoint is made of."""
        self.progress.scheduler = self.rate.memory()
        return State(self.model, self.optimizer, self.progress, self.ema.tensors if self.ema else {})

    @property
    def watched(self) -> list[tuple[str, str]]:
        """Where in the spec a metric is watched, and which."""
        parts = (("earlyStop", self.spec.early_stop), ("checkpoint.best", self.spec.checkpoint.best))
        watched = [(where, part.monitor) for where, part in parts if part]
        return [*watched, ("schedule", self.spec.schedule.watched)] if self.spec.schedule.watched else watched

    def save(self, *, metric: float | None, may_drop: bool) -> None:
        """A checkpoint of now; `metric` ranks it among the best."""
        self.saving.save(self.state, metric=metric, may_drop=may_drop)
        if self.compiled:
            self.compiled.keep()

    def autocast(self) -> AbstractContextManager[Any]:
        """16 bits where the spec says so."""
        return autocast(self.spec.precision, self.world.device)

    def backward(self, loss_sum: torch.Tensor, *, is_real: bool) -> None:
        """Gradients of a micro-batch's loss, by a constant factor so that 16-bit ones stay in range; none for padding.

        The true weight is known after the reduction only, and divided by there.
        """
        factor = loss_scale.of(self.spec, self.progress) / self.spec.batch.global_ if is_real else 0.0
        unit = self._units.get((loss_sum.dtype, factor))
        if unit is None:
            self._units[loss_sum.dtype, factor] = unit = loss_sum.new_tensor(factor)
        backward(loss_sum, unit)

    def note_skipped(self, places: tuple[str, ...]) -> None:
        """Counts samples that others stood in for, and tells of each once."""
        self.new_skipped += len(places)
        for place in places:
            if place not in self.skipped:
                self.skipped.add(place)
                log.warning("rank %d skipped a sample: %s", self.world.rank, place)

    def restart_steps(self) -> None:
        """Batches from where the progress is."""
        if isinstance(self.train.loader.fetch.source, Streamed):
            self.train.loader.fetch.source.seek(self.progress.cursor)
        end_of = partial(self.length.end, global_batch=self.spec.batch.global_)
        cut = self.train.cut(self.world)
        self.steps = Steps(
            self.train.loader, self.train.stream, cut, begin=self.progress.samples, end_of=end_of,
            period=self.spec.debug.overfit_batches * self.spec.batch.global_,
        )  # fmt: skip
