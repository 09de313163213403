"""The `trainer:` section of the job file: what is trained, on what, how, and what is kept."""

from typing import Literal, Self

from pydantic import field_validator, model_validator

from ktrain.spec.base import Model, setting
from ktrain.spec.common import Length, positive
from ktrain.spec.compile import Compile
from ktrain.spec.data import Batch, Data
from ktrain.spec.debug import Debug
from ktrain.spec.evaluation import EarlyStop, Eval
from ktrain.spec.optim import Optim
from ktrain.spec.parallel import Parallel
from ktrain.spec.profile import Profile
from ktrain.spec.record import Checkpoint, Log
from ktrain.spec.schedule import Schedule
from ktrain.spec.task import ModelSpec, TaskSpec
from ktrain.spec.track import Track
from ktrain.units import Span


class Trainer(Model):
    """Everything that the declarative trainer needs."""

    seed: int = setting(0, resume="refuse", doc="key of every random draw", ge=0, lt=2**63)
    deterministic: bool = setting(
        False, resume="warn", doc="deterministic kernels only; on GPUs the price of bit-exact resume"
    )
    threads: int = setting(
        1, resume="warn", doc="CPU threads per rank; part of the numbers, so part of the spec", ge=1, le=1024
    )
    duration: Length = setting(resume="warn", doc="length of the run: 10ep, 2000step, 2e6sample or 1e9tok")
    model: ModelSpec = setting(resume="refuse", doc="the network")
    task: TaskSpec = setting(TaskSpec(), resume="refuse", doc="how a batch becomes a loss")
    data: Data = setting(resume="refuse", doc="datasets")
    batch: Batch = setting(resume="warn", doc="sizes in samples")
    precision: Literal["fp32", "bf16", "fp16"] = setting(
        "fp32", resume="warn", doc="bf16, fp16: autocast; parameters and reductions stay fp32; fp16 scales the loss"
    )
    parallel: Parallel = setting(Parallel(), resume="free", doc="how the model is spread over ranks")
    compile: Compile | None = setting(None, resume="warn", doc="torch.compile; none: the model runs as it is")
    optim: Optim = setting(resume="refuse", doc="the optimizer")
    schedule: Schedule = setting(Schedule(), resume="warn", doc="the learning rate over the run")
    eval: Eval = setting(Eval(), resume="free", doc="evaluation")
    early_stop: EarlyStop | None = setting(None, resume="free", doc="stop when a metric no longer improves")
    checkpoint: Checkpoint = setting(Checkpoint(), resume="free", doc="when to save and what to keep")
    nonfinite: Literal["stop", "skip"] = setting(
        "stop", resume="free", doc="what a NaN or infinite loss does; skip: drop the step, stop after five in a row"
    )
    log: Log = setting(Log(), resume="free", doc="what is written how often")
    track: tuple[Track, ...] = setting((), resume="free", doc="more sinks for the metrics")
    debug: Debug = setting(Debug(), resume="free", doc="checks of a run that does not learn")
    profile: Profile = setting(Profile(), resume="free", doc="where the time and the memory of a step go")

    @field_validator("duration")
    @classmethod
    def _duration(cls, duration: Span) -> Span:
        return positive(duration)

    @field_validator("track")
    @classmethod
    def _one_of_each(cls, track: tuple[Track, ...]) -> tuple[Track, ...]:
        sinks = [it.sink for it in track]
        if twice := sorted({sink for sink in sinks if sinks.count(sink) > 1}):
            raise ValueError(f"the sink {twice[0]} is there twice; a run has one of each kind")
        return track

    @property
    def evaluates(self) -> bool:
        """Whether there is an evaluation, if only at the end."""
        return self.data.has_val and self.eval.max_samples != 0

    @property
    def _why_not(self) -> str:
        if self.data.has_val:
            return "eval.maxSamples is 0, so that nothing is evaluated; raise it"
        return "there is no data.val to evaluate on; add data.val (or data.split)"

    @property
    def in_epochs(self) -> tuple[tuple[str, Span], ...]:
        """Lengths, other than those of orders, that mean something only when the data has a length; by key."""
        ema = self.optim.ema
        spans = [("duration", self.duration), ("eval.every", self.eval.every), ("profile.at", self.profile.at)]
        spans += [("checkpoint.every", span) for span in self.checkpoint.spans]
        spans += [("optim.ema.every", ema.every)] if ema else []
        spans += [("optim.rules", rule.frozen_until) for rule in self.optim.rules]
        spans += [(f"schedule.{name}", span) for name, span in self.schedule.lengths.items()]
        return tuple((name, span) for name, span in spans if span is not None and span.unit == "ep")

    @model_validator(mode="after")
    def _no_epochs_of_streams(self) -> Self:
        if self.data.train.stream and self.in_epochs:
            raise ValueError(no_epochs(*self.in_epochs[0]))
        return self

    @model_validator(mode="after")
    def _compiled_blocks(self) -> Self:
        if self.compile and self.compile.scope == "model" and self.parallel.is_sharded:
            raise ValueError(
                f"compile.scope is model, but parallel.strategy is {self.parallel.strategy}, which gathers the parameters block by block; write scope: block"
            )
        return self

    @model_validator(mode="after")
    def _micro_of_shards(self) -> Self:
        if self.batch.micro == "auto" and self.parallel.is_sharded:
            raise ValueError(
                f"batch.micro is auto, but parallel.strategy is {self.parallel.strategy}; what fits is tried by each rank alone, and sharded ranks compute together: write a number"
            )
        return self

    @model_validator(mode="after")
    def _comparable(self) -> Self:
        for key, span in self.schedule.lengths.items():
            if (span.unit == "tok") != (self.duration.unit == "tok"):
                raise ValueError(
                    f"duration is {self.duration} and schedule.{key} is {span}; tokens do not convert to samples: give both in tok or neither"
                )
        return self

    @model_validator(mode="after")
    def _warmed_up(self) -> Self:
        warmup = self.schedule.warmup
        if warmup.unit == self.duration.unit and warmup.value > self.duration.value:
            raise ValueError(f"schedule.warmup is {warmup}, but the whole run lasts {self.duration}; shorten it")
        return self

    @model_validator(mode="after")
    def _averaged(self) -> Self:
        if self.eval.weights == "ema" and self.optim.ema is None:
            raise ValueError("eval.weights is ema, but there is no optim.ema; add optim: {ema: {decay: 0.999}}")
        return self

    @model_validator(mode="after")
    def _evaluated(self) -> Self:
        asked = [name for name in ("metrics", "predictions") if getattr(self.eval, name)]
        if asked and not self.evaluates:
            raise ValueError(f"eval.{asked[0]} is given, but {self._why_not} or remove it")
        return self

    @model_validator(mode="after")
    def _monitors(self) -> Self:
        watched = [
            (name, part.monitor)
            for name, part in (("earlyStop", self.early_stop), ("checkpoint.best", self.checkpoint.best))
            if part
        ]
        watched += [("schedule", self.schedule.watched)] if self.schedule.watched else []
        if self.schedule.watched and self.eval.every is None:
            raise ValueError("schedule plateau sees evaluations, but there is no eval.every; add eval: {every: …}")
        for name, monitor in watched:
            if monitor.startswith("val/") and not self.evaluates:
                raise ValueError(f"{name}.monitor is {monitor}, but {self._why_not} or remove {name}")
        return self


def no_epochs(name: str, span: Span) -> str:
    """Why this length cannot be one of a stream."""
    return f"{name} is {span}, but data.train is a stream, whose length nobody knows; write steps, samples or tokens"
