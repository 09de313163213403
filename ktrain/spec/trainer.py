"""The `trainer:` section of the job file: what is trained, on what, how, and what is kept."""

from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, StringConstraints, field_validator, model_validator

from ktrain.spec import forms
from ktrain.spec.base import Model, setting
from ktrain.units import Span

Target = Annotated[str, StringConstraints(pattern=forms.TARGET.pattern, max_length=500)]
ShortName = Annotated[str, StringConstraints(pattern=forms.SHORT_NAME.pattern, max_length=100)]
Monitor = Annotated[str, StringConstraints(pattern=forms.MONITOR.pattern, max_length=200)]
Args = dict[str, Any]


def _positive(span: Span) -> Span:
    if span.value <= 0:
        raise ValueError(f"{span} must be more than nothing")
    return span


Length = Annotated[Span, BeforeValidator(Span.parse_length)]


class Use(Model):
    """An object of the user's: what to import, and with which arguments to call it."""

    use: Target = setting(resume="refuse", doc="package.module:attribute")
    args: Args = setting({}, resume="refuse", doc="keyword arguments")


class ModelSpec(Use):
    """The network."""

    init_from: str | None = setting(
        None, resume="warn", doc="weights to begin with, never optimizer state: a run's URL, or <url>@<step>"
    )


class Loss(Model):
    """The loss: a short name, or an import path of a function (output, target, reduction='sum', …)."""

    use: ShortName | Target = setting(
        "cross_entropy", resume="refuse", doc="cross_entropy, mse, bce_with_logits, l1, huber, nll, or module:attr"
    )
    args: Args = setting({}, resume="warn", doc="keyword arguments, without reduction")


class TaskSpec(Model):
    """How a batch becomes a loss."""

    use: Literal["supervised", "causal_lm"] | Target = setting(
        "supervised", resume="refuse", doc="supervised, causal_lm, or module:attr of a Task"
    )
    args: Args = setting({}, resume="warn", doc="keyword arguments of the task")
    loss: Loss = setting(Loss(), resume="refuse", doc="loss of the supervised task")


class Loader(Model):
    """How samples are fetched; never changes what is fetched."""

    workers: int = setting(0, resume="free", doc="worker processes per rank", ge=0, le=256)
    prefetch: int = setting(2, resume="free", doc="micro-batches that each worker fetches ahead", ge=1, le=1000)
    pin_memory: bool = setting(False, resume="free", doc="page-locked memory, for CUDA")


class Data(Model):
    """Datasets: anything with __len__ and __getitem__ (or __getitems__)."""

    train: Use = setting(resume="refuse", doc="training dataset")
    val: Use | None = setting(None, resume="warn", doc="validation dataset")
    collate: Use | None = setting(None, resume="refuse", doc="factory of the collate function; default: torch's")
    shuffle: bool = setting(True, resume="refuse", doc="a new keyed order each epoch")
    loader: Loader = setting(Loader(), resume="free", doc="how samples are fetched")


class Batch(Model):
    """Sizes in samples; how often a rank accumulates follows from the number of ranks."""

    global_: int = setting(
        resume="warn", doc="samples per optimizer step, over all ranks", ge=1, le=2**31, alias="global"
    )
    micro: int = setting(resume="warn", doc="samples per forward pass", ge=1, le=2**31)

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.global_ % self.micro:
            down = self.global_ - self.global_ % self.micro
            near = f"{down} or {down + self.micro}" if down else f"{self.micro}"
            raise ValueError(
                f"global is {self.global_}, which is no multiple of micro ({self.micro}); make global {near}, or change micro"
            )
        return self


class Parallel(Model):
    """How the model is spread over ranks."""

    strategy: Literal["auto", "single", "ddp", "fsdp2", "hsdp"] = setting(
        "auto", resume="free", doc="auto: single with one rank, else ddp; hsdp: sharded in groups, a copy in each"
    )
    shards: int | None = setting(
        None, resume="free", doc="hsdp: ranks that hold one copy together; none: those of a node", ge=1, le=100_000
    )
    blocks: Literal["auto"] | tuple[str, ...] = setting(
        "auto", resume="free", doc="class names of the modules that are sharded, or recomputed, one by one"
    )
    reshard_after_forward: bool = setting(
        True, resume="free", doc="fsdp2, hsdp: free the gathered parameters between forward and backward"
    )
    recompute: Literal["none", "full", "selective"] = setting(
        "none",
        resume="free",
        doc="activation checkpointing of the blocks; selective: what matrix products and attention gave is kept",
    )

    @property
    def is_sharded(self) -> bool:
        """Whether a rank holds a part of the model only."""
        return self.strategy in {"fsdp2", "hsdp"}

    @model_validator(mode="after")
    def _shards_of_hsdp(self) -> Self:
        if self.shards is not None and self.strategy != "hsdp":
            raise ValueError(f"shards is {self.shards}, but strategy is {self.strategy}; only hsdp has groups of ranks")
        return self


class Clip(Model):
    """Gradient clipping."""

    norm: float = setting(resume="warn", doc="largest global L2 norm of the gradients", gt=0)


class Optim(Model):
    """The optimizer."""

    name: Literal["adamw", "sgd"] = setting("adamw", resume="refuse", doc="torch.optim's AdamW or SGD")
    lr: float = setting(resume="warn", doc="base learning rate", gt=0)
    args: Args = setting(
        {}, resume="warn", doc="the optimizer's other arguments: betas, eps, weight_decay, momentum, …"
    )
    kernel: Literal["fused", "foreach"] = setting(
        "fused", resume="warn", doc="torch's implementation; part of the numbers, so part of the spec"
    )
    no_decay: Literal["auto", "none"] | tuple[str, ...] = setting(
        "auto",
        resume="warn",
        doc="parameters without weight decay; auto: biases, norms and all other 1-D ones; or regular expressions of names",
    )
    clip: Clip | None = setting(None, resume="warn", doc="gradient clipping")

    @field_validator("args")
    @classmethod
    def _no_own_keys(cls, args: Args) -> Args:
        for name in ("lr", "params", "foreach", "fused", "capturable", "differentiable", "maximize"):
            if name in args:
                raise ValueError(
                    f"{name!r} does not belong in optim.args; " + ("use optim.lr" if name == "lr" else "ktrain sets it")
                )
        return args


class Schedule(Model):
    """The learning rate as a function of progress; nothing of it is stored."""

    name: Literal["constant", "cosine"] = setting("constant", resume="warn", doc="shape after the warm-up")
    warmup: Length = setting(Span(0, "step"), resume="warn", doc="linear rise from 0 at the beginning")
    min_ratio: float = setting(0.0, resume="warn", doc="share of the base rate at the end", ge=0, le=1)


class Eval(Model):
    """Evaluation on data.val; there is always one at the very end."""

    every: Length | None = setting(None, resume="free", doc="how often; none: at the end only")
    micro: int | None = setting(None, resume="free", doc="samples per forward pass; none: batch.micro", ge=1)
    max_samples: int | None = setting(None, resume="free", doc="evaluate on the first so many samples; none: all", ge=1)

    @field_validator("every")
    @classmethod
    def _units(cls, every: Span | None) -> Span | None:
        return every if every is None else _positive(every)


class EarlyStop(Model):
    """Stop when a metric no longer improves."""

    monitor: Monitor = setting("val/loss", resume="warn", doc="metric to watch")
    mode: Literal["min", "max"] = setting("min", resume="warn", doc="which direction is better")
    patience: int = setting(3, resume="free", doc="evaluations without improvement", ge=1)
    min_delta: float = setting(0.0, resume="free", doc="least change that counts", ge=0)


class Best(Model):
    """Keep the best checkpoints by a metric."""

    monitor: Monitor = setting("val/loss", resume="warn", doc="metric to watch")
    mode: Literal["min", "max"] = setting("min", resume="warn", doc="which direction is better")
    keep: int = setting(1, resume="free", doc="how many", ge=1, le=1000)


class Checkpoint(Model):
    """When to save and what to keep."""

    every: tuple[Span, ...] = setting(
        (Span(600.0, "s"),), resume="free", doc="whichever comes first: 500step, 1ep, 10min"
    )
    keep_last: int = setting(2, resume="free", doc="newest commits to keep", ge=1, le=10_000)
    best: Best | None = setting(None, resume="free", doc="also keep the best by a metric")

    @field_validator("every", mode="before", json_schema_input_type=Span | tuple[Span, ...])
    @classmethod
    def _listed(cls, every: object) -> object:
        return every if isinstance(every, list | tuple) else (every,)

    @field_validator("every")
    @classmethod
    def _units(cls, every: tuple[Span, ...]) -> tuple[Span, ...]:
        return tuple(_positive(span) for span in every)


class Log(Model):
    """What is written how often."""

    every: Span = setting(Span(10, "step"), resume="free", doc="steps between two records of the training curve")

    @field_validator("every")
    @classmethod
    def _units(cls, every: Span) -> Span:
        if every.unit != "step":
            raise ValueError(f"{every} is not in steps; write for example 10step")
        return _positive(every)


class Track(Model):
    """A sink of metrics beside the run's own JSON lines."""

    sink: Literal["jsonl", "tensorboard"] = setting(resume="free", doc="kind of sink")


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
    precision: Literal["fp32", "bf16"] = setting(
        "fp32", resume="warn", doc="bf16: autocast; parameters and reductions stay fp32"
    )
    parallel: Parallel = setting(Parallel(), resume="free", doc="how the model is spread over ranks")
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

    @field_validator("duration")
    @classmethod
    def _duration(cls, duration: Span) -> Span:
        return _positive(duration)

    @model_validator(mode="after")
    def _comparable(self) -> Self:
        tokens = [
            name
            for name, span in (("duration", self.duration), ("schedule.warmup", self.schedule.warmup))
            if span.unit == "tok"
        ]
        if tokens and len(tokens) == 1 and self.schedule.warmup.value:
            raise ValueError(
                f"duration is {self.duration} and schedule.warmup is {self.schedule.warmup}; tokens do not convert to samples: give both in tok or neither"
            )
        return self

    @model_validator(mode="after")
    def _monitors(self) -> Self:
        watched = [
            (name, part.monitor)
            for name, part in (("earlyStop", self.early_stop), ("checkpoint.best", self.checkpoint.best))
            if part
        ]
        for name, monitor in watched:
            if monitor.startswith("val/") and self.data.val is None:
                raise ValueError(
                    f"{name}.monitor is {monitor}, but there is no data.val; add data.val or remove {name}"
                )
        return self
