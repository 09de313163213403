"""How weights lie in safetensors files: sizes, and tensors that begin where their kind may."""

import json
import struct
from itertools import pairwise

import pytest

from ktrain.checkpoints.manifest import FORMAT, Manifest, TensorEntry
from ktrain.checkpoints.safetensors import Part, layout, weights

DTYPES = {"a": "int8", "b": "float64", "c": "bool", "d": "float16", "e": "float32", "f": "int8"}
ITEM_BYTES = {"int8": 1, "float64": 8, "bool": 1, "float16": 2, "float32": 4}


def manifest() -> Manifest:
    """Six weights of five items each, of every width."""
    tensors = {f"model.{name}": TensorEntry(dtype, (5,), ()) for name, dtype in DTYPES.items()}
    return Manifest(FORMAT, "run", 1, 1, 7, 0.0, 1, {}, None, {}, {}, (), tensors)


def parts(most_bytes: int) -> tuple[Part, ...]:
    made = manifest()
    return layout(made, weights(made, average=False), most_bytes=most_bytes)


def test_each_tensor_begins_at_a_multiple_of_its_items() -> None:
    (part,) = parts(1000)
    (length,) = struct.unpack("<Q", part.head[:8])
    assert len(part.head) == 8 + length
    assert {len(each.head) % 8 for each in parts(1)} == {0}  # as the format's own library aligns them
    header = json.loads(part.head[8:])
    begins = {name: header[name]["data_offsets"][0] for name in DTYPES}
    assert [name for name, begin in begins.items() if begin % ITEM_BYTES[DTYPES[name]]] == []
    ends = sorted(tuple(header[name]["data_offsets"]) for name in DTYPES)
    assert all(before[1] == after[0] for before, after in pairwise(ends))  # without a gap


@pytest.mark.parametrize(
    ("most_bytes", "files"),
    [
        pytest.param(85, [("b", "e", "d", "a", "c", "f")], id="just enough for all"),
        pytest.param(45, [("b", "a"), ("e", "d", "c", "f")], id="in order of their names"),
        pytest.param(1, [("a",), ("b",), ("c",), ("d",), ("e",), ("f",)], id="a larger one has its own"),
    ],
)
def test_no_file_is_larger_than_asked(most_bytes: int, files: list[tuple[str, ...]]) -> None:
    assert [part.weights for part in parts(most_bytes)] == files
