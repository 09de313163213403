"""Streams: data that is read from front to back and has no length, as a dataset that is asked by sample number.

The stream is one for all ranks: sample number n is the same whoever reads it, so a run resumes at any number of ranks.
Each rank reads all of it, in blocks, and turns only its own samples into what the model sees. Where a block begins, a
cursor is taken; the checkpoint keeps the newest one, and the run that goes on reads from there.
"""

import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
from torch.utils.data import IterableDataset

from ktrain.errors import DataError
from ktrain.spec import Trainer
from ktrain.units import Span
from ktrain_trainer import rng
from ktrain_trainer.plan import Indices, Permutation

log = logging.getLogger("ktrain")

ENDLESS: Final = 1 << 62
"""The length of a stream, as far as plans are concerned: it begins again when it is at its end."""

Cursor = Mapping[str, Any]
ORIGIN: Final[Cursor] = {"block": 0, "passes": 0, "at": 0, "state": None}


class SampleStream(Protocol):
    """What can be iterated, again and again: the same samples in the same order in every process.

    With state_dict() and load_state_dict(state), whose state is JSON, a resumed run goes on without reading again what
    it has seen; set_epoch(n), when there is one, is called before each pass.
    """

    def __iter__(self) -> Iterator[Any]: ...


def is_stream(source: Any) -> bool:
    """Whether it can be iterated and no more."""
    is_map = hasattr(source, "__getitem__") and hasattr(source, "__len__")
    return isinstance(source, IterableDataset) or (hasattr(source, "__iter__") and not is_map)


class Streamed:
    """A stream by sample number: forward costs nothing twice, backward begins again at the newest cursor before it."""

    def __init__(self, stream: Any, block: int, decode: Callable[[Any], Any] | None = None) -> None:
        """block: samples that are read together. decode: what makes a sample of what the stream gives."""
        self._stream, self._size, self._decode = stream, block, decode
        self._from: Cursor = ORIGIN
        self._rows: Iterator[Any] | None = None
        self._passes = self._at = 0  # how often it was at its end; what was read since
        self._number, self._block = -1, list[Any]()
        self._mark: Cursor = ORIGIN
        self._opened: Cursor | None = None  # until the first block

    def __len__(self) -> int:
        return ENDLESS

    def __getitem__(self, index: int) -> Any:
        block, at = divmod(index, self._size)
        if block != self._number:
            self._load(block)
        sample = self._block[at]
        return self._decode(sample) if self._decode else sample

    @property
    def block(self) -> int:
        """How many samples are shuffled among each other."""
        return self._size

    @property
    def fingerprint(self) -> Any:
        """The stream's own word."""
        return getattr(self._stream, "fingerprint", None)

    def place(self, index: int) -> str:
        """For messages."""
        return f"sample {index} of the stream"

    @property
    def cursor(self) -> Cursor:
        """Where to begin so as to meet the sample that was read last, and all that come after it."""
        return self._mark

    def seek(self, cursor: Cursor | None) -> None:
        """Begins there."""
        self._from, self._rows, self._number = cursor or ORIGIN, None, -1

    def __getstate__(self) -> dict[str, Any]:
        """Workers open it themselves."""
        return {**self.__dict__, "_rows": None, "_number": -1, "_block": []}

    def _load(self, block: int) -> None:
        if self._rows is None or block < self._number:
            self._open(self._from if self._from["block"] <= block else ORIGIN)
        while self._number < block:
            self._read()

    def _open(self, cursor: Cursor) -> None:
        self._passes, self._number = int(cursor["passes"]), int(cursor["block"]) - 1
        self._at = int(cursor["at"])
        _set_epoch(self._stream, self._passes)
        if cursor["state"] is not None:
            self._stream.load_state_dict(cursor["state"])
        self._rows, self._opened = iter(self._stream), cursor
        if cursor["state"] is None and self._at:
            log.info("the stream has no state_dict(): %d samples are read again, to get to where the run is", self._at)
            for _ in range(self._at):
                next(self._rows)

    def _read(self) -> None:
        """The next block."""
        self._number += 1
        # What was opened just now may not know its state before it gives the first sample.
        self._mark = self._opened or {
            "block": self._number, "passes": self._passes, "at": self._at, "state": self._state(),
        }  # fmt: skip
        self._opened = None
        self._block = [self._next() for _ in range(self._size)]

    def _next(self) -> Any:
        assert self._rows is not None
        for _ in range(2):
            for sample in self._rows:
                self._at += 1
                return sample
            if self._at == 0:
                break
            self._passes, self._at = self._passes + 1, 0
            _set_epoch(self._stream, self._passes)
            self._rows = iter(self._stream)
        raise DataError("the stream gave no sample from its beginning to its end", "spec.trainer.data.train")

    def _state(self) -> Any:
        own = getattr(self._stream, "state_dict", None)
        try:
            return json.loads(json.dumps(own())) if callable(own) else None  # a copy: the original may go on
        except (TypeError, ValueError) as error:
            raise DataError(
                f"state_dict() of {type(self._stream).__name__} is no JSON ({error}); give numbers, texts, lists and mappings of them",
                "spec.trainer.data.train",
            ) from None


class Blockwise:
    """An order: each block of a stream shuffled by itself."""

    def __init__(self, size: int, seed: int) -> None:
        self._size, self._seed = size, seed

    def __call__(self, positions: Indices) -> Indices:
        """The samples at these neighbouring positions."""
        blocks = positions // self._size
        parts: Sequence[Indices] = [
            self._within(block, positions[blocks == block]) for block in range(int(blocks[0]), int(blocks[-1]) + 1)
        ]
        return np.concatenate(parts)

    def _within(self, block: int, positions: Indices) -> Indices:
        order = Permutation(self._size, rng.key(self._seed, rng.ORDER, block))
        return order(positions - block * self._size) + block * self._size


def _set_epoch(stream: Any, epoch: int) -> None:
    own = getattr(stream, "set_epoch", None)
    if callable(own):
        own(epoch)


def check_units(spec: Trainer) -> None:
    """DataError for lengths in epochs: nobody knows how long one is."""
    spans: Mapping[str, Sequence[Span | None]] = {
        "duration": [spec.duration], "eval.every": [spec.eval.every],
        "checkpoint.every": spec.checkpoint.every, "profile.at": [spec.profile.at],
        "optim.ema.every": [spec.optim.ema.every] if spec.optim.ema else [],
        "optim.rules": [rule.frozen_until for rule in spec.optim.rules],
        **{f"schedule.{name}": [span] for name, span in spec.schedule.lengths.items()},
    }  # fmt: skip
    for name, given in spans.items():
        for span in given:
            if span is not None and span.unit == "ep":
                raise DataError(
                    f"{name} is {span}, but data.train is a stream, whose length nobody knows; write steps, samples or tokens",
                    f"spec.trainer.{name}",
                )
