"""Streams: data that is read from front to back and has no length, as a dataset that is asked by sample number.

The stream is one for all ranks: sample number n is the same whoever reads it, so a run resumes at any number of ranks.
Each rank reads all of it, in blocks, and turns only its own samples into what the model sees. Where a block begins, a
cursor is taken; the checkpoint keeps the newest one, and the run that goes on reads from there.
"""

import copy
import json
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

import numpy as np
from torch.utils.data import IterableDataset

from ktrain.errors import DataError
from ktrain.spec import Trainer
from ktrain.spec.trainer import no_epochs
from ktrain_trainer import rng
from ktrain_trainer.plan import Indices, Permutation

log = logging.getLogger("ktrain")

ENDLESS: Final = 1 << 62
"""The length of a stream, as far as plans are concerned: it begins again when it is at its end."""

WHERE: Final = "spec.trainer.data.train"
_END: Final = object()
Cursor = Mapping[str, Any]
ORIGIN: Final[Cursor] = {"block": 0, "passes": 0, "at": 0, "state": None}


class SampleStream(Protocol):
    """What can be iterated, again and again: the same samples in the same order in every process.

    With state_dict() and load_state_dict(state), whose state is JSON, a resumed run goes on without reading again what
    it has seen; set_epoch(n), when there is one, is called before each pass.
    """

    def __iter__(self) -> Iterator[Any]: ...


def is_stream(source: Any) -> bool:
    """Whether it can be iterated and no more; DataError when only once."""
    is_map = hasattr(source, "__getitem__") and hasattr(source, "__len__")
    found = isinstance(source, IterableDataset) or (hasattr(source, "__iter__") and not is_map)
    if found and hasattr(source, "__next__"):
        raise DataError(
            f"a {type(source).__name__} is used up when it was read once; give an object with __iter__", WHERE
        )
    return found


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
        self._first: Any = None  # the stream's state before anything was read
        self._was_opened = False

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
        self._load_state(cursor["state"])
        self._rows, self._opened = iter(self._stream), cursor
        if cursor["state"] is None and self._at:
            log.info("the stream has no state_dict(): %d samples are read again, to get to where the run is", self._at)
            for _ in range(self._at):
                if next(self._rows, _END) is _END:
                    raise DataError(
                        f"the stream ends before its sample {self._at}, where the run was; bring the old data back, or "
                        "begin a new run with --fresh", WHERE,
                    )  # fmt: skip

    def _load_state(self, state: Any) -> None:
        """None: the beginning, which a stream that has loaded another state must be told of."""
        if not callable(getattr(self._stream, "load_state_dict", None)):
            return
        if self._first is None:
            self._first = copy.deepcopy(self._stream.state_dict())
        if state is not None:
            self._stream.load_state_dict(state)
        elif self._was_opened:
            self._stream.load_state_dict(copy.deepcopy(self._first))
        self._was_opened = True

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
        raise DataError("the stream gave no sample from its beginning to its end", WHERE)

    def _state(self) -> Any:
        own = getattr(self._stream, "state_dict", None)
        if (
            not callable(own)
            or not callable(getattr(self._stream, "load_state_dict", None))
            or _has_buffer(self._stream)
        ):
            return None
        state = own()
        kind = type(self._stream).__name__
        if not _has_text_keys(state):
            raise DataError(
                f"state_dict() of {kind} has keys that are no texts, which JSON changes; make them texts", WHERE
            )
        try:
            return json.loads(json.dumps(state))  # a copy: the original may go on
        except (TypeError, ValueError) as error:
            raise DataError(
                f"state_dict() of {kind} is no JSON ({error}); give numbers, texts, lists and mappings of them", WHERE
            ) from None


def _has_buffer(stream: Any) -> bool:
    """Whether Hugging Face's shuffle is in it, whose state lacks its buffer: what comes next only reading again tells."""
    inner = [getattr(stream, name, None) for name in ("_ex_iterable", "ex_iterable")]
    inner += getattr(stream, "ex_iterables", ())
    return type(stream).__name__.startswith("BufferShuffled") or any(_has_buffer(it) for it in inner if it is not None)


def _has_text_keys(state: Any) -> bool:
    if isinstance(state, Mapping):
        return all(isinstance(key, str) and _has_text_keys(value) for key, value in state.items())
    return not isinstance(state, list | tuple) or all(map(_has_text_keys, state))


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
    for name, span in spec.in_epochs:
        raise DataError(no_epochs(name, span), f"spec.trainer.{name}")
