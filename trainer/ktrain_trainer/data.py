"""From the plan to batches on this rank: fetched in order, seeded by position, however many workers there are."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader, Dataset, default_collate

from ktrain.errors import DataError
from ktrain.spec.data import Data
from ktrain_trainer import build, rng, stop
from ktrain_trainer.plan import Cut, Micro, Stream

Collate = Callable[[list[Any]], Any]


class Source(Protocol):
    """A map-style dataset; __getitems__(indices), when there is one, fetches many at once."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> Any: ...


@dataclass(frozen=True, slots=True)
class Batch:
    """A micro-batch with its data, on the CPU."""

    index: int
    size: int
    data: Any


@dataclass(frozen=True)
class Fetch(Dataset[Batch]):
    """Turns a micro-batch of the plan into data. Seeded by (seed, position): the same with 0 workers or 30."""

    source: Any
    collate: Collate
    seed: int

    def __getitem__(self, micro: Micro) -> Batch:
        rng.seed_all(rng.key(self.seed, rng.SAMPLE, micro.position))
        many = getattr(self.source, "__getitems__", None)
        samples = many(list(micro.samples)) if many else [self.source[index] for index in micro.samples]
        return Batch(micro.index, len(micro.samples), self.collate(samples))


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
        return iter(
            DataLoader(
                self.fetch,
                batch_size=None,
                sampler=_Once(micros),  # what __getitem__ takes
                num_workers=self.workers,
                prefetch_factor=self.prefetch,
                pin_memory=self.pin_memory,
                worker_init_fn=_start_worker,
                generator=torch.Generator(),  # its own: iter() would draw a seed from the global one
            )
        )


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

    def __init__(self, loader: Loader, stream: Stream, cut: Cut, *, begin: int, end_of: Callable[[int], int]) -> None:
        """end_of: where the step that begins at a position ends; the same position when the run is over."""
        self._stream = stream
        self._cut = cut
        self._end_of = end_of
        self._at = begin
        self._batches = loader.batches(self._micros(begin))

    def next(self) -> list[Batch]:
        """The batches of the next step; empty when this rank has none in a short last step."""
        begin, self._at = self._at, self._end_of(self._at)
        return [next(self._batches) for _ in range(self._count(begin, self._at))]

    def _count(self, begin: int, end: int) -> int:
        micros = -(-(end - begin) // self._cut.micro)
        return len(range(self._cut.rank, micros, self._cut.world_size))

    def _micros(self, begin: int) -> Iterator[Micro]:
        while (end := self._end_of(begin)) > begin:
            yield from self._cut.mine(self._stream, begin, end)
            begin = end


def make_loader(spec: Data, source: Any, *, seed: int) -> Loader:
    """The loader of the job's training or validation data."""
    collate = build.construct(spec.collate, "spec.trainer.data.collate") if spec.collate else default_collate
    fetch = Fetch(source, collate, seed)
    return Loader(fetch, spec.loader.workers, spec.loader.prefetch, spec.loader.pin_memory)


def check_source(source: Any, where: str) -> Source:
    """The dataset itself, when it has a length above zero and can be indexed."""
    if not hasattr(source, "__getitem__") or not hasattr(source, "__len__"):
        raise DataError(
            f"{where}: {type(source).__name__} has no __len__ or no __getitem__; ktrain needs a map-style dataset"
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
