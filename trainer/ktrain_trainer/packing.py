"""Token sequences in rows of one length: which go into which row depends on the dataset and the seed alone."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
import torch

from ktrain.errors import DataError
from ktrain.spec.sampling import Pack
from ktrain_trainer import rng
from ktrain_trainer.columns import column
from ktrain_trainer.data import fingerprint
from ktrain_trainer.plan import Permutation

IGNORED: Final = -100  # what causal_lm does not count
_OPEN: Final = 64  # rows that are being filled at once
_WHERE: Final = "spec.trainer.data.pack"

Piece = tuple[int, int, int]  # sample, [begin, end) of its tokens


@dataclass(frozen=True)
class Packed:
    """Samples are mappings: input_ids and labels, int64 (length).

    Labels are -100 in the padding, and at the first token of each sequence: the sequence before says nothing about it.
    """

    source: Any
    spec: Pack
    rows: Sequence[Sequence[Piece]]

    @classmethod
    def of(cls, source: Any, spec: Pack, *, seed: int) -> "Packed":
        """Reads all lengths once. Sequences that are longer than a row go on in another one."""
        lengths = [_length(value, spec, index) for index, value in enumerate(column(source, spec.column, _WHERE))]
        rows = fill(lengths, spec.length, seed=seed)
        if not rows:
            raise DataError(f"no sample has tokens in {spec.column!r}", _WHERE)
        return cls(source, spec, rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        row = self.rows[index]
        tokens = torch.full((self.spec.length,), self.spec.pad, dtype=torch.int64)
        labels = torch.full((self.spec.length,), IGNORED, dtype=torch.int64)
        positions = torch.zeros(self.spec.length, dtype=torch.int64)
        at = 0
        for sample, begin, end in row:
            here = slice(at, at + end - begin)
            tokens[here] = self._tokens(sample)[begin:end]
            labels[here] = tokens[here]
            labels[at] = IGNORED
            positions[here] = torch.arange(end - begin)
            at += end - begin
        return {"input_ids": tokens, "labels": labels, **({"position_ids": positions} if self.spec.positions else {})}

    def place(self, index: int) -> str:
        """The samples of the row."""
        return f"packed row {index} (samples {', '.join(str(sample) for sample, _, _ in self.rows[index])})"

    def fingerprint(self) -> str:
        """Of the dataset."""
        return str(sorted(fingerprint(self.source).items(), key=str))

    def _tokens(self, sample: int) -> torch.Tensor:
        found = self.source[sample]
        return torch.as_tensor(found[self.spec.column] if isinstance(found, Mapping) else found, dtype=torch.int64)


def fill(lengths: Sequence[int], length: int, *, seed: int) -> list[list[Piece]]:
    """Each piece goes into the fullest open row that it fits into; samples come in a keyed order."""
    rows: list[list[Piece]] = []
    room: dict[int, int] = {}  # of rows that are still open
    order = Permutation(max(1, len(lengths)), rng.key(seed, rng.PACK))(np.arange(len(lengths), dtype=np.int64))
    for sample in order.tolist():
        for begin in range(0, lengths[sample], length):
            end = min(begin + length, lengths[sample])
            fitting = [row for row, left in room.items() if left >= end - begin]
            row = min(fitting, key=lambda it: (room[it], it)) if fitting else len(rows)
            if not fitting:
                rows.append([])
                room[row] = length
            rows[row].append((sample, begin, end))
            room[row] -= end - begin
            if not room[row] or len(room) > _OPEN:
                del room[min(room, key=lambda it: (room[it], it))]
    return rows


def _length(value: Any, spec: Pack, index: int) -> int:
    if isinstance(value, str) or not hasattr(value, "__len__"):
        raise DataError(f"{spec.column!r} of sample {index} is a {type(value).__name__}, not a list of tokens", _WHERE)
    return len(value)
