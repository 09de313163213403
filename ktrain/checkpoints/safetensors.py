"""The safetensors format, and how a checkpoint's weights are laid out in files of it, as Hugging Face's loaders expect.

Format: https://huggingface.co/docs/safetensors (8 bytes little-endian length, a JSON header, the tensors' bytes).
"""

import json
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Final

from ktrain.checkpoints.dtypes import ITEM_BYTES
from ktrain.checkpoints.manifest import Manifest, TensorEntry
from ktrain.errors import CheckpointError

DTYPES: Final[Mapping[str, str]] = {
    "float64": "F64", "float32": "F32", "float16": "F16", "bfloat16": "BF16", "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2", "int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8", "uint64": "U64",
    "uint32": "U32", "uint16": "U16", "uint8": "U8", "bool": "BOOL",
}  # fmt: skip
INDEX: Final = "model.safetensors.index.json"
_ALIGNMENT: Final = 8
_MODEL: Final = "model."
_AVERAGE: Final = "extra.ema."


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """One file: its name, what stands before the tensors, and where each stored tensor's bytes begin (often once)."""

    name: str
    head: bytes
    begins: Mapping[str, tuple[int, ...]]  # stored name → bytes from the file's beginning
    weights: tuple[str, ...]  # the names in it
    size: int


def weights(manifest: Manifest, *, average: bool, strip: str = "") -> dict[str, str]:
    """Name of a weight or buffer → name under which the checkpoint stores it. CheckpointError when there is none.

    average: the moving average (optim.ema) in place of the parameters. strip: what names lose at their beginning.
    """
    stored = [*manifest.tensors, *manifest.aliases]
    found = {name.removeprefix(_MODEL): name for name in stored if name.startswith(_MODEL)}
    if average:
        means = {name.removeprefix(_AVERAGE): name for name in stored if name.startswith(_AVERAGE)}
        if not means:
            raise CheckpointError("the checkpoint has no average of the weights; the job has no trainer.optim.ema")
        shared = {
            name: means[target.removeprefix(_MODEL)]
            for name, target in _shared(manifest)
            if target.removeprefix(_MODEL) in means
        }
        found |= means | shared
    wrong = next((name for name in found if not name.startswith(strip)), None)
    if wrong is not None:
        raise CheckpointError(f"the weight {wrong} does not begin with {strip}")
    return {name.removeprefix(strip): manifest.aliases.get(of, of) for name, of in found.items()}


def layout(manifest: Manifest, wanted: Mapping[str, str], *, most_bytes: int) -> tuple[Part, ...]:
    """Files of at most so many bytes of tensors each, unless a single one is larger; larger items first in each."""
    groups: list[list[str]] = [[]]
    size = 0
    for name in sorted(wanted):
        own = size_of(manifest.tensors[wanted[name]])
        if groups[-1] and size + own > most_bytes:
            groups.append([])
            size = 0
        groups[-1].append(name)
        size += own
    many = len(groups)
    names = (
        ["model.safetensors"] if many == 1 else [f"model-{n:05d}-of-{many:05d}.safetensors" for n in range(1, many + 1)]
    )
    return tuple(_part(manifest, name, wanted, group) for name, group in zip(names, groups, strict=True))


def index(parts: Sequence[Part]) -> dict[str, Any]:
    """The document that says which file has which weight."""
    total = sum(part.size - len(part.head) for part in parts)
    return {
        "metadata": {"total_size": total},
        "weight_map": {name: part.name for part in parts for name in part.weights},
    }


def size_of(entry: TensorEntry) -> int:
    """Bytes of a tensor."""
    return prod(entry.shape) * ITEM_BYTES[entry.dtype]


def _part(manifest: Manifest, name: str, wanted: Mapping[str, str], group: Sequence[str]) -> Part:
    entries = {weight: manifest.tensors[wanted[weight]] for weight in group}
    order = sorted(group, key=lambda weight: (-ITEM_BYTES[entries[weight].dtype], weight))
    described: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    begins: dict[str, list[int]] = {}
    at = 0
    for weight in order:
        entry = entries[weight]
        if entry.dtype not in DTYPES:
            raise CheckpointError(f"the weight {weight} is {entry.dtype}, which the safetensors format does not have")
        end = at + size_of(entry)
        described[weight] = {"dtype": DTYPES[entry.dtype], "shape": entry.shape, "data_offsets": [at, end]}
        begins.setdefault(wanted[weight], []).append(at)
        at = end
    text = json.dumps(described, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    head = struct.pack("<Q", len(text)) + text
    moved = {stored: tuple(len(head) + begin for begin in found) for stored, found in begins.items()}
    return Part(name, head, moved, tuple(order), len(head) + at)


def _shared(manifest: Manifest) -> Iterator[tuple[str, str]]:
    """Further names of parameters, without `model.`, and the names under which they are stored."""
    return ((name.removeprefix(_MODEL), of) for name, of in manifest.aliases.items() if name.startswith(_MODEL))
