"""The manifest is checked when it is read: after that its numbers fit together."""

import contextlib
import copy
import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from ktrain.checkpoints.manifest import decode_manifest, encode_manifest
from ktrain.errors import CheckpointError
from ktrain.history import claim_epoch
from ktrain.storage.memory import MemoryStorage
from ktrain_trainer.checkpoint import Checkpointer, World
from tests.checkpoint.models import build, train
from tests.checkpoint.work import SMALL

Document = dict[str, Any]
Change = Callable[[Document], None]


def a_document() -> bytes:
    storage = MemoryStorage()
    model, optimizer = build("plain", "tiny")
    train(model, optimizer, range(1))
    saver = Checkpointer(storage, claim_epoch(storage, attempt=1), World(), run="run", options=SMALL)
    return storage.get(saver.save(1, model, optimizer, {"a": [1, None]}).result(30).manifest)[0]


GOOD = a_document()


def test_a_manifest_that_is_read_and_written_again_is_the_same() -> None:
    assert encode_manifest(decode_manifest(GOOD, "here")) == GOOD


def chunk(document: Document, name: str = "model.body.0.weight", number: int = 0) -> Document:
    found: Document = document["tensors"][name]["chunks"][number]
    return found


CHANGES: dict[str, Change] = {
    "an unknown key": lambda it: it.update(surprise=1),
    "a missing key": lambda it: it.pop("objects"),
    "a negative step": lambda it: it.update(step=-1),
    "an endless step": lambda it: it.update(step=10**30),
    "a world of none": lambda it: it.update(world_size=0),
    "an unknown dtype": lambda it: it["tensors"]["model.scale"].update(dtype="float7"),
    "another shape": lambda it: it["tensors"]["model.scale"].update(shape=[4]),
    "a huge shape": lambda it: it["tensors"]["model.scale"].update(shape=[2**48] * 60),
    "too many dimensions": lambda it: it["tensors"]["model.scale"].update(shape=[1] * 65),
    "a chunk too few": lambda it: it["tensors"]["model.body.0.weight"]["chunks"].pop(),
    "a chunk twice": lambda it: it["tensors"]["model.body.0.weight"]["chunks"].append(chunk(it)),
    "a chunk elsewhere": lambda it: chunk(it).update(offset=[1, 0]),
    "a chunk outside": lambda it: chunk(it).update(offset=[100, 0]),
    "a chunk of no size": lambda it: chunk(it).update(size=[0, 6]),
    "a chunk of other dimensions": lambda it: chunk(it).update(offset=[0], size=[6]),
    "a chunk in no object": lambda it: chunk(it).update(object=10_000),
    "a chunk beyond its object": lambda it: chunk(it).update(begin=10**9, end=10**9 + 216),
    "a chunk that ends too soon": lambda it: chunk(it).update(end=chunk(it)["begin"] + 4),
    "a chunk on another's bytes": lambda it: chunk(it).update(
        begin=chunk(it)["begin"] + 4, end=chunk(it)["end"] + 4
    ),
    "an object too large": lambda it: it["objects"][0].update(size=10**15),
    "an object a little larger": lambda it: it["objects"][0].update(size=it["objects"][0]["size"] + 1),
    "an empty object": lambda it: it["objects"][0].update(size=0),
    "a checksum too few": lambda it: it["objects"][0]["checksums"].pop(),
    "a checksum that is none": lambda it: it["objects"][0]["checksums"].append("xyz"),
    "blocks of nothing": lambda it: it["objects"][0].update(block_size=0),
    "an object outside of the run": lambda it: it["objects"][0].update(key="../../etc/passwd"),
    "an object of another name": lambda it: it["objects"][0].update(key="HEAD"),
    "an object nobody uses": lambda it: it["objects"].append(it["objects"][0]),
    "an alias of nothing": lambda it: it["aliases"].update(a="b"),
    "an alias of a name that exists": lambda it: it["aliases"].update({"model.scale": "model.embed.weight"}),
}  # fmt: skip


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_a_manifest_that_does_not_fit_together_is_damaged(change: Change) -> None:
    document = json.loads(GOOD)
    change(document)
    with pytest.raises(CheckpointError, match=r"s3://b/manifest\.json is damaged: "):
        decode_manifest(json.dumps(document).encode(), "s3://b/manifest.json")


@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_no_change_makes_it_crash(data: st.DataObject) -> None:
    document = copy.deepcopy(json.loads(GOOD))
    place = document
    while True:
        key = data.draw(st.sampled_from(sorted(place) if isinstance(place, dict) else range(len(place))))
        if not isinstance(place[key], dict | list) or not place[key] or data.draw(st.booleans()):
            break
        place = place[key]
    place[key] = data.draw(
        st.none() | st.integers() | st.text(max_size=9) | st.just([]) | st.just({}) | st.floats() | st.just("9" * 16)
    )
    with contextlib.suppress(CheckpointError):
        decode_manifest(json.dumps(document).encode(), "here")


def test_many_chunks_are_checked_in_no_time() -> None:
    storage = MemoryStorage()
    saver = Checkpointer(storage, claim_epoch(storage, attempt=1), World(), run="run", options=SMALL)
    commit = saver.save(0, nn.Linear(64, 4000), None, {}).result(60)
    manifest = decode_manifest(storage.get(commit.manifest)[0], "here")
    assert len(manifest.tensors["model.weight"].chunks) == 4000
