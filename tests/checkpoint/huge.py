"""Manifests of very many entries, made without torch, so that a process that only reads them starts at once."""

import json
from typing import Any, Final

KEY: Final = "a0001-e0001/step-000000001/0000-0000.bin"
_EMPTY: Final = {
    "format": 1, "run": "run", "attempt": 1, "epoch": 1, "step": 1, "created": 0.0, "world_size": 1, "meta": {},
    "optimizer": None, "values": {}, "aliases": {}, "objects": [], "tensors": {},
}  # fmt: skip


def huge(kind: str, count: int) -> bytes:
    """A manifest with so many entries of a kind."""
    document: dict[str, Any] = dict(_EMPTY)
    block = 1 << 26
    item = {"key": KEY, "size": count, "block_size": block, "checksums": ["0" * 16] * -(-count // block)}
    part = {"size": [1], "object": 0}
    tensor = {"dtype": "uint8", "shape": [count]}
    match kind:
        case "chunks":
            chunks = [{**part, "offset": [at], "begin": at, "end": at + 1} for at in range(count)]
            document |= {"objects": [item], "tensors": {"t": {**tensor, "chunks": chunks}}}
        case "columns":
            chunks = [
                {"object": 0, "offset": [0, at], "size": [2, 1], "begin": 2 * at, "end": 2 * at + 2}
                for at in range(count)
            ]
            tensor = {"dtype": "uint8", "shape": [2, count], "chunks": chunks}
            document |= {"objects": [{**item, "size": 2 * count}], "tensors": {"t": tensor}}
        case "one chunk again and again":
            chunks = [{**part, "offset": [0], "begin": 0, "end": 1}] * count
            document |= {"objects": [item], "tensors": {"t": {**tensor, "chunks": chunks}}}
        case "tensors":
            document |= {
                "objects": [item],
                "tensors": {
                    f"t{at}": {
                        "dtype": "uint8", "shape": [1], "chunks": [{**part, "offset": [0], "begin": at, "end": at + 1}],
                    }
                    for at in range(count)
                },
            }  # fmt: skip
        case "objects":
            document |= {"objects": [{**item, "size": 1}] * count}
        case "aliases":
            document |= {"aliases": {f"t{at}": "nobody" for at in range(count)}}
        case "checksums":
            item |= {"size": 16 * count, "block_size": 16, "checksums": ["0" * 16] * count}
            document |= {"objects": [item]}
    return json.dumps(document).encode()
