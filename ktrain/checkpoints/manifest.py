"""The manifest: one JSON document that says where every byte of a checkpoint is and what it must hash to."""

import json
import re
from dataclasses import dataclass
from typing import Annotated, Any, Final

import xxhash
from pydantic import ConfigDict, Field, TypeAdapter, ValidationError

from ktrain.checkpoints.boxes import Box, is_inside, tiles
from ktrain.checkpoints.dtypes import ITEM_BYTES
from ktrain.errors import CheckpointError
from ktrain.history.model import Count, check_format, parse_object

FORMAT: Final = 1
MAX_MANIFEST_BYTES: Final = 1 << 30
MAX_OBJECT_BYTES: Final = 5 << 30  # what S3 takes in one request
_STRICT: Final = ConfigDict(extra="forbid")
_KEY: Final = re.compile(r"a\d{4,}-e\d{4,}/step-\d{9,}(-\d+)?/\d{4,}-\d{4,}\.bin")

Dim = Annotated[int, Field(ge=0, le=2**48)]
Dims = Annotated[tuple[Dim, ...], Field(max_length=64)]
Checksum = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


@dataclass(frozen=True, slots=True)
class Chunk:
    """A part of a tensor and where its bytes are: bytes [begin, end) of objects[object]."""

    offset: Dims
    size: Dims
    object: Count
    begin: Count
    end: Count

    __pydantic_config__ = _STRICT

    @property
    def box(self) -> Box:
        """The part of the tensor."""
        return Box(self.offset, self.size)


@dataclass(frozen=True, slots=True)
class TensorEntry:
    """A tensor and the chunks that tile it."""

    dtype: str
    shape: Dims
    chunks: tuple[Chunk, ...]

    __pydantic_config__ = _STRICT


@dataclass(frozen=True, slots=True)
class ObjectEntry:
    """An object, with the XXH3-64 of each block of block_size bytes (the last may be shorter)."""

    key: Annotated[str, Field(max_length=1024)]
    size: Annotated[int, Field(ge=1, le=MAX_OBJECT_BYTES)]
    block_size: Annotated[int, Field(ge=16, le=1 << 26)]
    checksums: tuple[Checksum, ...]

    __pydantic_config__ = _STRICT


@dataclass(frozen=True, slots=True)
class Manifest:
    """One whole checkpoint. Keys are relative to the run."""

    format: int
    run: str
    attempt: Count
    epoch: Count
    step: Count
    created: float
    world_size: Annotated[int, Field(ge=1)]
    meta: dict[str, Any]  # the trainer's: progress, versions, spec
    optimizer: dict[str, Any] | None  # class and parameter groups, for the record and for checking
    values: dict[str, Any]  # optimizer state that is no tensor
    aliases: dict[str, str]  # names of shared tensors, stored once under the other name
    objects: tuple[ObjectEntry, ...]
    tensors: dict[str, TensorEntry]

    __pydantic_config__ = _STRICT

    @property
    def size_bytes(self) -> int:
        """Bytes of all objects."""
        return sum(item.size for item in self.objects)

    def find(self, name: str) -> TensorEntry | None:
        """The tensor of that name, or the one that it shares its storage with."""
        return self.tensors.get(self.aliases.get(name, name))


_MANIFEST: Final = TypeAdapter(Manifest)


def block_checksums(data: memoryview, block_size: int) -> tuple[str, ...]:
    """XXH3-64 of each block, as hex."""
    return tuple(xxhash.xxh3_64_hexdigest(data[at : at + block_size]) for at in range(0, len(data), block_size))


def encode_manifest(manifest: Manifest) -> bytes:
    """The manifest's JSON: the same bytes for the same manifest, a line for each object and tensor."""
    fields: dict[str, Any] = {name: getattr(manifest, name) for name in Manifest.__dataclass_fields__}
    lines = [f"{_json(name)}:{_json(fields[name])}" for name in fields if name not in {"objects", "tensors"}]
    objects = ",\n  ".join(_json(_plain(item)) for item in manifest.objects)
    tensors = ",\n  ".join(f"{_json(name)}:{_json(_tensor(entry))}" for name, entry in sorted(manifest.tensors.items()))
    lines += [f'"objects":[\n  {objects}\n ]', f'"tensors":{{\n  {tensors}\n }}']
    return ("{\n " + ",\n ".join(lines) + "\n}\n").encode()


def decode_manifest(data: bytes, where: str) -> Manifest:
    """Reads and checks a manifest; after this, its numbers can be trusted to fit together."""
    if fault := size_fault(len(data)):
        raise CheckpointError(f"{where} is damaged: {fault}")
    check_format(parse_object(data, where), where, FORMAT)
    try:
        manifest = _MANIFEST.validate_json(data)
    except ValidationError as error:
        first = error.errors()[0]
        raise CheckpointError(
            f"{where} is damaged: {'.'.join(map(str, first['loc']))}: {first['msg'].lower()}"
        ) from error
    if fault := _fault(manifest):
        raise CheckpointError(f"{where} is damaged: {fault}")
    return manifest


def size_fault(size_bytes: int) -> str | None:
    """What is wrong with a manifest of that size; it can be asked before it is fetched."""
    return f"{size_bytes} bytes are more than any manifest has" if size_bytes > MAX_MANIFEST_BYTES else None


def _fault(manifest: Manifest) -> str | None:
    checks = [_object_fault(item) for item in manifest.objects]
    checks += [_tensor_fault(name, entry, manifest.objects) for name, entry in manifest.tensors.items()]
    checks += [
        f"{name} is an alias of {target}, which is not there"
        for name, target in manifest.aliases.items()
        if target not in manifest.tensors or name in manifest.tensors
    ]
    return next((fault for fault in checks if fault), None) or _packing_fault(manifest)


def _object_fault(item: ObjectEntry) -> str | None:
    if not _KEY.fullmatch(item.key):
        return f"{item.key!r} is no key of a checkpoint's object"
    blocks = -(-item.size // item.block_size)
    if len(item.checksums) != blocks:
        return f"{item.key} has {len(item.checksums)} checksums for {blocks} blocks"
    return None


def _tensor_fault(name: str, entry: TensorEntry, objects: tuple[ObjectEntry, ...]) -> str | None:
    if entry.dtype not in ITEM_BYTES:
        return f"{name} has dtype {entry.dtype!r}, which this ktrain does not know"
    for chunk in entry.chunks:
        if not is_inside(chunk.box, entry.shape):
            return f"a chunk of {name} at {chunk.offset} of size {chunk.size} is outside of its shape {entry.shape}"
        if chunk.object >= len(objects) or not chunk.begin < chunk.end <= objects[chunk.object].size:
            return f"a chunk of {name} lies outside of its object"
        if chunk.end - chunk.begin != chunk.box.numel * ITEM_BYTES[entry.dtype]:
            return f"a chunk of {name} has {chunk.end - chunk.begin} bytes for {chunk.size} of {entry.dtype}"
    if not tiles([chunk.box for chunk in entry.chunks], entry.shape):
        return f"the chunks of {name} overlap or leave gaps"
    return None


def _packing_fault(manifest: Manifest) -> str | None:
    ranges: list[list[tuple[int, int]]] = [[] for _ in manifest.objects]
    for entry in manifest.tensors.values():
        for chunk in entry.chunks:
            ranges[chunk.object].append((chunk.begin, chunk.end))
    for item, parts in zip(manifest.objects, ranges, strict=True):
        at = 0
        for begin, end in sorted(parts):
            if begin != at:
                return f"the chunks in {item.key} overlap or leave gaps"
            at = end
        if at != item.size:
            return f"the chunks in {item.key} overlap or leave gaps"
    return None


def _tensor(entry: TensorEntry) -> dict[str, Any]:
    return {"dtype": entry.dtype, "shape": entry.shape, "chunks": [_plain(chunk) for chunk in entry.chunks]}


def _plain(item: ObjectEntry | Chunk) -> dict[str, Any]:
    return {name: getattr(item, name) for name in item.__dataclass_fields__}


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
