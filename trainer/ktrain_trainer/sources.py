"""The datasets of a job: files or the user's own, each for one purpose."""

from dataclasses import dataclass
from typing import Any

from ktrain.errors import DataError
from ktrain.spec.common import Use
from ktrain.spec.data import Data
from ktrain.spec.dataset import Dataset
from ktrain_trainer import build
from ktrain_trainer.data import Source, check_source
from ktrain_trainer.division import divide, fold
from ktrain_trainer.mixture import Joined
from ktrain_trainer.packing import Packed
from ktrain_trainer.streaming import Streamed, is_stream

_WHERE = "spec.trainer.data"


@dataclass(frozen=True, slots=True)
class Sources:
    """The job's datasets."""

    train: Source
    val: Source | None
    test: Source | None


def make_sources(spec: Data, *, seed: int, test: bool = False) -> Sources:
    """All of them; the test data only when it is asked for: training never opens it."""
    train = make_source(spec.train, f"{_WHERE}.train", block=spec.buffer)
    if isinstance(train, Streamed):
        check_stream(spec)
    classes = spec.train.classes or getattr(train, "classes", None)  # label numbers mean the same in all splits
    parts: dict[str, Any] = {"train": train}
    if spec.split:
        parts = {name: view for name, view in divide(train, spec.split).items() if len(view)}
    elif spec.fold:
        parts = dict(fold(train, spec.fold))
    for name, part in (("val", spec.val), ("test", spec.test if test else None)):
        if part:
            parts[name] = make_source(part, f"{_WHERE}.{name}", classes=classes)
    if spec.mix:
        others = {name: make_source(part, f"{_WHERE}.mix.others.{name}") for name, part in spec.mix.others.items()}
        parts["train"] = Joined({"train": parts["train"], **others}, spec.mix.tag)
    if spec.pack:
        parts = {name: Packed.of(part, spec.pack, seed=seed) for name, part in parts.items()}
    return Sources(parts["train"], parts.get("val"), parts.get("test") if test else None)


def make_source(spec: Dataset, where: str, *, classes: Any = None, block: int = 0) -> Source:
    """A dataset of files, or by its import path; DataError when it is empty or cannot be indexed.

    block: samples of a stream that are read together; 0: it must be no stream.
    """
    if spec.source is not None:
        from ktrain_trainer.datasets import open_stream, open_table  # not for those who bring their own dataset

        if spec.stream and not block:
            raise DataError("only data.train can be a stream", f"{where}.stream")
        return open_stream(spec, where, block) if spec.stream else open_table(spec, where, classes=classes)
    assert spec.use is not None, "the spec was checked"
    found = build.construct(Use(use=spec.use, args=spec.args), where)
    return Streamed(found, block) if block and is_stream(found) else check_source(found, where)


def check_stream(spec: Data) -> None:
    """DataError for what needs a dataset that has a length and can be asked for any sample."""
    for name in ("split", "fold", "sampler", "curriculum", "mix", "pack"):
        if getattr(spec, name):
            raise DataError(
                f"data.train is a stream, and {name} needs a dataset with a length; remove it, or write the samples into files",
                f"{_WHERE}.{name}",
            )
    if spec.on_error != "raise":
        raise DataError(
            f"data.train is a stream, in which no other sample can stand in; onError is {spec.on_error}: write raise",
            f"{_WHERE}.onError",
        )
    if spec.train.use and spec.loader.workers > 1:
        raise DataError(
            f"a stream of one's own is read by one worker, since many of them divide themselves among workers; loader.workers is {spec.loader.workers}: write 1",
            f"{_WHERE}.loader.workers",
        )
