"""From the plan to batches on this rank: fetched in order, seeded by position, however many workers there are."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol

import torch
from torch.utils.data import DataLoader, Dataset, default_collate, get_worker_info

from ktrain.errors import DataError, KtrainError
from ktrain.spec.common import Use
from ktrain.spec.data import Data
from ktrain.spec.transform import OnError
from ktrain_trainer import build, reading, rng, stop
from ktrain_trainer.plan import Cut, Micro, Stream
from ktrain_trainer.streaming import Cursor, Streamed

Collate = Callable[[list[Any]], Any]
Transform = Callable[[Any], Any]
SplitName = Literal["train", "val", "test"]


class Source(Protocol):
    """A map-style dataset; __getitems__(indices), when there is one, fetches many at once."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...


@dataclass(frozen=True, slots=True)
class Batch:
    """A micro-batch with its data, on the CPU. skipped: where the samples come from that others stand in for."""

    index: int
    size: int
    data: Any
    skipped: tuple[str, ...] = ()
    cursor: Cursor | None = None  # of a stream


@dataclass(frozen=True)
class Fetch(Dataset[Batch]):
    """Turns a micro-batch of the plan into data. Seeded by (seed, position): the same with 0 workers or 30."""

    source: Any
    collate: Collate
    seed: int
    transform: Transform | None = None
    on_error: OnError = "raise"

    def __getitem__(self, micro: Micro) -> Batch:
        try:
            return self._fetch(micro)
        except KtrainError as error:
            if get_worker_info() is None:
                raise
            return Batch(micro.index, len(micro.samples), error)  # else it comes with a traceback instead of a sentence

    def sample(self, index: int) -> Any:
        """One sample as it goes into a batch, for a look."""
        sample = self.source[index]
        return self._transformed(sample, index) if self.transform else sample

    def _fetch(self, micro: Micro) -> Batch:
        rng.seed_all(rng.key(self.seed, rng.SAMPLE, micro.position))
        samples, skipped = reading.read(self.source, micro, seed=self.seed, on_error=self.on_error)
        if self.transform:
            samples = [self._transformed(sample, micro.position + at) for at, sample in enumerate(samples)]
        cursor = self.source.cursor if isinstance(self.source, Streamed) else None
        return Batch(micro.index, len(micro.samples), self.collate(samples), skipped, cursor)

    def _transformed(self, sample: Any, position: int) -> Any:
        assert self.transform is not None
        rng.seed_all(rng.key(self.seed, rng.SAMPLE, position, 1))
        return self.transform(sample)


@dataclass(frozen=True)
class Loader:
    """How micro-batches are fetched; never which."""

    fetch: Fetch
    workers: int = 0
    prefetch: int = 2
    pin_memory: bool = False

    def batches(self, micros: Iterator[Micro]) -> Iterator[Batch]:
        """The data of these micro-batches, in order."""
        if not self.workers:
            return map(self.fetch.__getitem__, micros)
        return map(
            _whole,
            DataLoader(
                self.fetch,
                batch_size=None,
                sampler=_Once(micros),  # what __getitem__ takes
                num_workers=self.workers,
                prefetch_factor=self.prefetch,
                pin_memory=self.pin_memory,
                worker_init_fn=_start_worker,
                generator=torch.Generator(),  # its own: iter() would draw a seed from the global one
            ),
        )


def _whole(batch: Batch) -> Batch:
    """The batch itself; raises what its worker could not."""
    if isinstance(batch.data, KtrainError):
        raise batch.data
    return batch


@dataclass(frozen=True)
class _Once:
    micros: Iterator[Micro]

    def __iter__(self) -> Iterator[Micro]:
        return self.micros


def _start_worker(_worker: int) -> None:
    stop.ignore_in_worker()
    torch.set_num_threads(1)


class Steps:
    """This rank's batches, step by step, from a position of the stream on."""

    def __init__(
        self, loader: Loader, stream: Stream, cut: Cut, *, begin: int, end_of: Callable[[int], int], period: int = 0
    ) -> None:
        """end_of: where the step that begins at a position ends; the same position when the run is over.

        period: after so many positions the stream begins again, for runs that overfit on purpose; 0: never.
        """
        self._cut = cut
        self._end_of = end_of
        self._at = begin
        # No method of ours: whoever drops us ends the loader's workers at once, and not when garbage is collected.
        self._batches = loader.batches(_micros(stream, cut, begin, end_of, period))

    def next(self) -> list[Batch]:
        """The batches of the next step; empty when this rank has none in a short last step."""
        begin, self._at = self._at, self._end_of(self._at)
        return [next(self._batches) for _ in range(self._count(begin, self._at))]

    def _count(self, begin: int, end: int) -> int:
        micros = -(-(end - begin) // self._cut.micro)
        return len(range(self._cut.rank, micros, self._cut.world_size))


def _micros(stream: Stream, cut: Cut, begin: int, end_of: Callable[[int], int], period: int) -> Iterator[Micro]:
    while (end := end_of(begin)) > begin:
        at = begin % period if period else begin
        yield from cut.mine(stream, at, at + end - begin)
        begin = end


def make_loader(spec: Data, source: Any, *, seed: int, split: SplitName = "val") -> Loader:
    """The loader of one of the job's datasets, with the transforms of its split."""
    steps = spec.transform.val if split == "test" and spec.transform.test is None else getattr(spec.transform, split)
    transform = None
    if steps:
        from ktrain_trainer.datasets import transforms  # not for those who have none

        transform = transforms.make(steps, f"spec.trainer.data.transform.{split}")
    fetch = Fetch(source, make_collate(spec), seed, transform, spec.on_error)
    return Loader(fetch, spec.loader.workers, spec.loader.prefetch, spec.loader.pin_memory)


def make_collate(spec: Data) -> Collate:
    """The job's collate function, or torch's."""
    if spec.collate is None:
        return plain
    if spec.collate.use == "pad":
        from ktrain_trainer.datasets.pad import Pad

        build.check_args(Pad, spec.collate.args, "spec.trainer.data.collate.args")
        return Pad(**spec.collate.args)
    collate: Collate = build.construct(Use(use=spec.collate.use, args=spec.collate.args), "spec.trainer.data.collate")
    return collate


def plain(samples: list[Any]) -> Any:
    """torch's default_collate; DataError says what to do when samples are of unequal shapes."""
    try:
        return default_collate(samples)
    except RuntimeError as error:
        if "equal size" not in str(error):
            raise
        raise DataError(
            f"samples of one batch have unequal shapes ({error}); write collate: {{use: pad}}, or a transform that makes "
            "them equal",
            "spec.trainer.data",
        ) from None


def check_source(source: Any, where: str) -> Source:
    """The dataset itself, when it has a length above zero and can be indexed."""
    if not hasattr(source, "__getitem__") or not hasattr(source, "__len__"):
        raise DataError(
            f"{where}: {type(source).__name__} has no __len__ or no __getitem__; only data.train may be a stream, which has __iter__"
        )
    if len(source) == 0:
        raise DataError(f"{where}: the dataset is empty; check its path and arguments")
    return source  # type: ignore[no-any-return]


def fingerprint(source: Any) -> dict[str, Any]:
    """What must not change while a run lasts: the number of samples, and the dataset's own word if it has one."""
    own = getattr(source, "fingerprint", None)
    return {"samples": len(source), "fingerprint": str(own() if callable(own) else own) if own is not None else None}


def to_device(data: Any, device: torch.device) -> Any:
    """Tensors in (nested) tuples, lists and mappings, moved; everything else as it is."""
    if device.type == "cpu":
        return data
    if isinstance(data, torch.Tensor):
        return data.to(device, non_blocking=True)
    if isinstance(data, Mapping):
        return {name: to_device(value, device) for name, value in data.items()}
    if isinstance(data, tuple) and hasattr(data, "_fields"):
        return type(data)(*(to_device(value, device) for value in data))
    if isinstance(data, Sequence) and not isinstance(data, str | bytes):
        return type(data)(to_device(value, device) for value in data)  # type: ignore[call-arg]
    return data
