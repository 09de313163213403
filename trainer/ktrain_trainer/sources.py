"""The datasets of a job: files or the user's own, each for one purpose."""

from dataclasses import dataclass
from typing import Any

from ktrain.spec.common import Use
from ktrain.spec.data import Data
from ktrain.spec.dataset import Dataset
from ktrain_trainer import build
from ktrain_trainer.data import Source, check_source

_WHERE = "spec.trainer.data"


@dataclass(frozen=True, slots=True)
class Sources:
    """The job's datasets."""

    train: Source
    val: Source | None
    test: Source | None


def make_sources(spec: Data, *, test: bool = False) -> Sources:
    """All of them; the test data only when it is asked for: training never opens it."""
    train = make_source(spec.train, f"{_WHERE}.train")
    classes = getattr(train, "classes", None)  # label numbers mean the same in all splits

    def other(name: str, part: Dataset | None) -> Source | None:
        return make_source(part, f"{_WHERE}.{name}", classes=classes) if part else None

    return Sources(train, other("val", spec.val), other("test", spec.test) if test else None)


def make_source(spec: Dataset, where: str, *, classes: Any = None) -> Source:
    """A dataset of files, or by its import path; DataError when it is empty or cannot be indexed."""
    if spec.source is not None:
        from ktrain_trainer.datasets import open_table  # not for those who bring their own dataset

        return open_table(spec, where, classes=classes)
    assert spec.use is not None, "the spec was checked"
    return check_source(build.construct(Use(use=spec.use, args=spec.args), where), where)
