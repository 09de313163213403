"""Datasets, how they are fetched, and the sizes of batches."""

from typing import Self

from pydantic import model_validator

from ktrain.spec.base import Model, setting
from ktrain.spec.common import Use
from ktrain.spec.dataset import Dataset


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
