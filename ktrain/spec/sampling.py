"""Which samples are for training, and in which order they come."""

from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from ktrain.spec.base import Model, setting
from ktrain.spec.common import Length, positive
from ktrain.spec.dataset import Column, Dataset
from ktrain.units import Span

Weight = Annotated[float, Field(gt=0)]


class Parting(Model):
    """How samples are told apart: by a hash of their name, so that a sample stays where it is when others come."""

    group_by: Column | None = setting(None, resume="refuse", doc="column whose equal values stay together")
    stratify_by: Column | None = setting(None, resume="refuse", doc="column whose values are spread evenly")
    seed: int = setting(0, resume="refuse", doc="another division for another number", ge=0, lt=2**63)


class Split(Parting):
    """Parts of data.train for training, validation and test."""

    train: float = setting(resume="refuse", doc="share", gt=0, le=1)
    val: float = setting(0.0, resume="refuse", doc="share", ge=0, lt=1)
    test: float = setting(0.0, resume="refuse", doc="share", ge=0, lt=1)

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if abs(self.train + self.val + self.test - 1) > 1e-6:
            raise ValueError(
                f"train, val and test are {self.train:g}, {self.val:g} and {self.test:g}, which is "
                f"{self.train + self.val + self.test:g} together; make it 1"
            )
        return self


class Fold(Parting):
    """One of k parts of data.train is for validation, the others for training."""

    k: int = setting(resume="refuse", doc="number of folds", ge=2, le=1000)
    index: int = setting(resume="refuse", doc="fold for validation, from 0 to k - 1", ge=0)

    @model_validator(mode="after")
    def _is_one_of_them(self) -> Self:
        if self.index >= self.k:
            raise ValueError(f"index is {self.index}, but there are {self.k} folds; it can be 0 to {self.k - 1}")
        return self


class Sampler(Model):
    """Another order of the training samples than a shuffled one."""

    name: Literal["weighted", "bucket"] = setting(
        resume="refuse", doc="weighted: drawn with replacement; bucket: samples of like length together"
    )
    column: Column = setting(
        resume="refuse",
        doc="weighted: the weights, or the classes that weights is about; bucket: lengths, texts or lists",
    )
    weights: Literal["balanced"] | dict[str, Weight] | None = setting(
        None, resume="refuse", doc="weighted: of each value of the column; balanced: each value equally often"
    )
    window: int = setting(100, resume="refuse", doc="bucket: micro-batches that are sorted together", ge=2, le=100_000)

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.name == "bucket" and self.weights is not None:
            raise ValueError("weights belong to the weighted sampler; remove them, or write name: weighted")
        return self


class Curriculum(Model):
    """Easy samples first: a growing part of them in the order of their score."""

    score: str = setting(
        resume="refuse", doc="column (numbers, or the length of texts and lists), or module:function of a sample",
        min_length=1, max_length=500,
    )  # fmt: skip
    start: float = setting(0.3, resume="refuse", doc="part of the samples to begin with", gt=0, le=1)
    end: float = setting(1.0, resume="refuse", doc="part of the samples at the end", gt=0, le=1)
    over: Length = setting(resume="refuse", doc="how long it takes: 3ep, 1000step or 1e6sample")
    shape: Literal["linear", "sqrt"] = setting("linear", resume="refuse", doc="how the part grows")

    @field_validator("over")
    @classmethod
    def _units(cls, over: Span) -> Span:
        if over.unit == "tok":
            raise ValueError(f"{over} does not convert to samples; give epochs, steps or samples")
        return positive(over)

    @model_validator(mode="after")
    def _grows(self) -> Self:
        if self.end < self.start:
            raise ValueError(f"end is {self.end:g}, which is less than start ({self.start:g}); a curriculum grows")
        return self


class Part(Dataset):
    """A dataset with its share."""

    weight: float = setting(1.0, resume="refuse", doc="share, beside the others'", gt=0, le=1e6)


class Mix(Model):
    """data.train mixed with other datasets in a fixed proportion; each is shuffled by itself, over and over."""

    weight: float = setting(1.0, resume="refuse", doc="share of data.train", gt=0, le=1e6)
    others: dict[Column, Part] = setting(
        resume="refuse", doc="name → dataset with its weight", min_length=1, max_length=100
    )
    by: Literal["sample", "micro"] = setting(
        "sample", resume="refuse", doc="micro: all samples of a micro-batch come from one dataset"
    )
    tag: Column | None = setting(
        None, resume="refuse", doc="key of the samples that gets the dataset's name (train for data.train)"
    )


class Pack(Model):
    """Token sequences one behind the other in rows of one length, for causal_lm."""

    length: int = setting(resume="refuse", doc="tokens a row", ge=2, le=2**24)
    column: Column = setting("input_ids", resume="refuse", doc="where samples have their tokens")
    pad: int = setting(0, resume="refuse", doc="token that fills a row's rest; it never counts", ge=0)
    positions: bool = setting(False, resume="refuse", doc="add position_ids that begin anew with each sequence")
