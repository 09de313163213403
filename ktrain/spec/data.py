"""Datasets, how they are fetched, and the sizes of batches."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from ktrain.spec.base import Model, setting
from ktrain.spec.dataset import Dataset
from ktrain.spec.sampling import Curriculum, Fold, Mix, Pack, Sampler, Split
from ktrain.spec.transform import Collate, OnError, PerSplit


class Loader(Model):
    """How samples are fetched; never changes what is fetched."""

    workers: int = setting(0, resume="free", doc="worker processes per rank", ge=0, le=256)
    prefetch: int = setting(2, resume="free", doc="micro-batches that each worker fetches ahead", ge=1, le=1000)
    pin_memory: bool = setting(False, resume="free", doc="page-locked memory, for CUDA")


class Data(Model):
    """Datasets: files, or anything with __len__ and __getitem__ (or __getitems__)."""

    train: Dataset = setting(resume="refuse", doc="training dataset")
    val: Dataset | None = setting(None, resume="warn", doc="validation dataset")
    test: Dataset | None = setting(None, resume="free", doc="test dataset: never looked at while training")
    split: Split | None = setting(None, resume="refuse", doc="take val and test from data.train")
    fold: Fold | None = setting(None, resume="refuse", doc="take val from data.train, k-fold")
    sampler: Sampler | None = setting(None, resume="refuse", doc="another order than a shuffled one")
    curriculum: Curriculum | None = setting(None, resume="refuse", doc="easy samples first")
    mix: Mix | None = setting(None, resume="refuse", doc="several datasets by proportion")
    pack: Pack | None = setting(None, resume="refuse", doc="token sequences in rows of one length")
    transform: PerSplit = setting(PerSplit(), resume="refuse", doc="changes of single samples")
    on_error: OnError = setting(
        "raise", resume="warn", doc="a sample that cannot be read; skip: take another one, retry: three times"
    )
    collate: Collate | None = setting(None, resume="refuse", doc="how samples become a batch; default: torch's")
    shuffle: bool = setting(True, resume="refuse", doc="a new keyed order each epoch")
    buffer: int = setting(
        1000,
        resume="refuse",
        doc="samples of a stream that are read together and shuffled among each other",
        ge=1,
        le=10_000_000,
    )
    loader: Loader = setting(Loader(), resume="free", doc="how samples are fetched")

    @property
    def has_val(self) -> bool:
        """Whether there is something to evaluate on."""
        return bool(self.val or self.fold or (self.split and self.split.val))

    @model_validator(mode="after")
    def _one_division(self) -> Self:
        if self.split and self.fold:
            raise ValueError("both split and fold divide data.train; give one of them")
        taken = {"val": self.fold or (self.split and self.split.val), "test": self.split and self.split.test}
        for name, is_taken in taken.items():
            if is_taken and getattr(self, name):
                which = "fold" if self.fold else f"split.{name}"
                raise ValueError(f"{name} is given, and {which} takes it from data.train too; remove one of them")
        return self

    @model_validator(mode="after")
    def _streams(self) -> Self:
        for name in ("val", "test"):
            if (part := getattr(self, name)) and part.stream:
                raise ValueError(
                    f"{name}.stream is true, but an evaluation needs a length; only data.train can be a stream"
                )
        return self

    @model_validator(mode="after")
    def _one_order(self) -> Self:
        orders = [name for name in ("sampler", "curriculum", "mix") if getattr(self, name)]
        if len(orders) > 1:
            raise ValueError(f"{orders[0]} and {orders[1]} both decide the order of the samples; give one of them")
        if orders and not self.shuffle:
            raise ValueError(f"shuffle is false, but {orders[0]} decides the order of the samples; remove one of them")
        if self.pack and orders:
            raise ValueError(f"pack makes new samples, which {orders[0]} knows nothing of; give one of them")
        return self


class Batch(Model):
    """Sizes in samples; how often a rank accumulates follows from the number of ranks."""

    global_: int = setting(
        resume="warn", doc="samples per optimizer step, over all ranks", ge=1, le=2**31, alias="global"
    )
    micro: Annotated[int, Field(ge=1, le=2**31)] | Literal["auto"] = setting(
        resume="warn", doc="samples per forward pass; auto: as many as fit at the first start, kept for the run"
    )

    @property
    def micro_size(self) -> int:
        """The number; only once `auto` has become one."""
        assert self.micro != "auto", "the trainer settles it before anything else"
        return self.micro

    @property
    def micros(self) -> int:
        """Micro-batches of a step: how many ranks can share it. With `auto` the most that there can be."""
        return self.global_ if self.micro == "auto" else self.global_ // self.micro

    @model_validator(mode="after")
    def _divisible(self) -> Self:
        if self.micro != "auto" and self.global_ % self.micro:
            down = self.global_ - self.global_ % self.micro
            near = f"{down} or {down + self.micro}" if down else f"{self.micro}"
            raise ValueError(
                f"global is {self.global_}, which is no multiple of micro ({self.micro}); make global {near}, or change micro"
            )
        return self
