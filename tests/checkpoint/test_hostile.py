"""Bytes that somebody has changed, kind by kind: found before a tensor changes, told by name, passed over in bounded time."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar

import pytest

from ktrain.checkpoints.manifest import decode_manifest
from ktrain.checkpoints.read import DamagedError, read_manifest
from ktrain.errors import CheckpointError, CheckpointMismatchError
from ktrain.history import Head, Token, read_head
from ktrain.names import KEY_HEAD
from ktrain.storage.memory import MemoryStorage
from ktrain_trainer.checkpoint import Checkpointer, World
from tests.checkpoint.gangs import Gang, Marked, restored
from tests.checkpoint.scripted import Call, ScriptedStorage
from tests.checkpoint.test_manifest import GOOD

T = TypeVar("T")
Document = dict[str, Any]


def a_run() -> MemoryStorage:
    """Two ranks' commits of steps 1, 2 and 3."""
    storage = MemoryStorage()
    gang = Gang([storage] * 2, keep=3)
    gang.claim()
    for step in (1, 2, 3):
        assert all(it.is_ok for it in gang.save(step))
    gang.close()
    return storage


@pytest.fixture(scope="module")
def good() -> dict[str, bytes]:
    storage = a_run()
    return {stat.key: storage.get(stat.key)[0] for stat in storage.list()}


def with_changes(good: dict[str, bytes], **changes: bytes | None) -> MemoryStorage:
    """The run with other contents; None: gone."""
    storage = MemoryStorage()
    for key, data in (good | changes).items():
        if data is not None:
            storage.put(key, data)
    return storage


def restore_alone(storage: MemoryStorage) -> tuple[int, tuple[str, ...], Marked]:
    """What one process restores, without claiming; checks that every number is of one epoch and step."""
    model = Marked()
    found = Checkpointer(storage, Token(1, 1), World(), run="run").restore(model, None)
    assert found is not None
    assert found.commit is not None
    assert model.read_mark() == (found.commit.epoch, found.step)
    return found.step, found.fell_back, model


def of_step(good: dict[str, bytes], step: int) -> list[str]:
    return [key for key in good if f"/step-{step:09d}" in key]


def flips(data: bytes, stride: int = 1) -> Iterator[tuple[int, bytes]]:
    """One bit of each byte, or of each so-manieth; another bit each time."""
    for at in range(0, len(data), stride):
        yield at, data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]


def test_a_flipped_bit_in_any_object_is_named(good: dict[str, bytes]) -> None:
    for key in of_step(good, 3):
        for at, data in flips(good[key], stride=5):
            step, fell_back, _ = restore_alone(with_changes(good, **{key: data}))
            assert (step, len(fell_back)) == (2, 1), f"{key}, byte {at}"
            assert f"{key} is damaged" in fell_back[0]


def test_a_flipped_bit_in_head_gives_a_whole_step_or_a_word(good: dict[str, bytes]) -> None:
    """HEAD has no checksum, so a number that nobody checks may change; never what is restored for a step."""
    found, told = [], []
    for _, data in flips(good[KEY_HEAD], stride=3):
        try:
            step, _, _ = restore_alone(with_changes(good, **{KEY_HEAD: data}))
        except CheckpointError as error:
            told.append(str(error))
        else:
            found.append(step)
    assert set(found) == {2, 3}
    assert told
    assert all("HEAD" in each for each in told), told


CUTS: dict[str, Callable[[bytes], bytes]] = {
    "to nothing": lambda data: b"",
    "to a byte": lambda data: data[:1],
    "to one block": lambda data: data[:64],
    "in the middle of a block": lambda data: data[: len(data) // 2 + 7],
    "by a byte": lambda data: data[:-1],
    "to zeros": lambda data: bytes(len(data)),
    "with two blocks exchanged": lambda data: data[64:128] + data[:64] + data[128:],
    "with its first block twice": lambda data: data[:64] + data[:64] + data[128:],
}  # fmt: skip


@pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS.keys())
def test_an_object_cut_or_overwritten_is_named_and_the_step_before_serves_all_ranks(
    good: dict[str, bytes], cut: Callable[[bytes], bytes]
) -> None:
    for key in of_step(good, 3):
        storage = with_changes(good, **{key: cut(good[key])})
        gang = Gang([storage] * 2)
        gang.claim()
        found = restored(gang.restore())
        gang.close()
        assert found is not None
        assert found.step == 2
        assert set(gang.marks()) == {(1, 2)}
        assert key in found.fell_back[0]


def test_bytes_behind_the_end_of_an_object_harm_nobody(good: dict[str, bytes]) -> None:
    for key in of_step(good, 3):
        if key.endswith(".bin"):
            assert restore_alone(with_changes(good, **{key: good[key] + b"more"}))[0] == 3


@pytest.mark.parametrize("step", [1, 2])
def test_objects_and_manifests_of_other_steps_and_ranks_do_not_pass(good: dict[str, bytes], step: int) -> None:
    mine, others = of_step(good, 3), of_step(good, step)
    for key, other in zip(mine, others, strict=True):
        found, fell_back, _ = restore_alone(with_changes(good, **{key: good[other]}))
        assert found == 2
        assert key in fell_back[0]
    for key, other in zip(mine, [*mine[1:], mine[0]], strict=True):
        found, fell_back, _ = restore_alone(with_changes(good, **{key: good[other], other: good[key]}))
        assert found == 2
        assert key in fell_back[0] or other in fell_back[0]


def test_any_object_missing_is_named(good: dict[str, bytes]) -> None:
    for key in of_step(good, 3):
        found, fell_back, _ = restore_alone(with_changes(good, **{key: None}))
        assert found == 2
        assert f"{key} is missing" in fell_back[0]


def head_with(good: dict[str, bytes], manifest: bytes, **changes: Any) -> dict[str, bytes]:
    """HEAD and the newest manifest of somebody who can hash: only what the manifest says can give it away."""
    head = json.loads(good[KEY_HEAD])
    newest = head["commits"][-1]
    newest |= {"sha256": hashlib.sha256(manifest).hexdigest()} | changes
    return {KEY_HEAD: json.dumps(head).encode(), newest["manifest"]: manifest}


LIES: dict[str, Callable[[Document], object]] = {
    "a shape of more bytes": lambda it: next(iter(it["tensors"].values())).update(shape=[8, 9]),
    "a shape of the same bytes": lambda it: next(iter(it["tensors"].values())).update(shape=[4, 16]),
    "a wider dtype": lambda it: next(iter(it["tensors"].values())).update(dtype="float64"),
    "an offset outside": lambda it: next(iter(it["tensors"].values()))["chunks"][0].update(offset=[2**40, 0]),
    "bytes outside": lambda it: next(iter(it["tensors"].values()))["chunks"][0].update(begin=2**40, end=2**40 + 256),
    "objects exchanged": lambda it: it["objects"].reverse(),
    "an object of another folder": lambda it: it["objects"][0].update(
        key="a0001-e0001/step-000000001/0000-0000.bin"
    ),
    "checksums exchanged": lambda it: it["objects"][0]["checksums"].reverse(),
    "other blocks": lambda it: it["objects"][0].update(
        block_size=it["objects"][0]["block_size"] * 2, checksums=it["objects"][0]["checksums"][::2]
    ),
    "another step": lambda it: it.update(step=7),
    "another epoch": lambda it: it.update(epoch=7),
    "another attempt": lambda it: it.update(attempt=7),
    "a format of nothing": lambda it: it.update(format=0),
    "no tensors": lambda it: it.update(tensors={}),
    "no objects": lambda it: it.update(objects=[]),
}  # fmt: skip


@pytest.mark.parametrize("name", LIES)
def test_a_manifest_that_lies_is_named_and_passed_over(good: dict[str, bytes], name: str) -> None:
    manifest = next(key for key in of_step(good, 3) if key.endswith(".json"))
    document = json.loads(good[manifest])
    LIES[name](document)
    storage = with_changes(good, **head_with(good, json.dumps(document).encode()))
    step, fell_back, _ = restore_alone(storage)
    assert step == 2
    assert fell_back[0].startswith("step 3: memory://here/a0001-e0001/")


GARBAGE: dict[str, bytes] = {
    "nothing": b"",
    "half of it": GOOD[: len(GOOD) // 2],
    "zeros": bytes(1000),
    "no text": b"\xff\xfe" * 100,
    "a list": b"[]",
    "a number": b"7",
    "endless lists": b"[" * 1_000_000,
    "endless objects": b'{"a":' * 1_000_000,
    "deep meta": GOOD.replace(b'"meta":{', b'"meta":{"x":' + b"[" * 100_000 + b"]" * 100_000 + b",", 1),
    "a number of a million digits": GOOD.replace(b'"step":1', b'"step":1' + b"0" * 1_000_000, 1),
    "no number": GOOD.replace(b'"step":1', b'"step":NaN', 1),
    "a key twice": GOOD.replace(b'"step":1', b'"step":1,"format":9', 1),
}  # fmt: skip


def test_a_whole_manifest_of_another_dtype_is_told_and_not_passed_over(good: dict[str, bytes]) -> None:
    manifest = next(key for key in of_step(good, 3) if key.endswith(".json"))
    other = good[manifest].replace(b"float32", b"int32")
    with pytest.raises(CheckpointMismatchError, match="is int32 in the checkpoint, but float32 in this job"):
        restore_alone(with_changes(good, **head_with(good, other)))


@pytest.mark.parametrize("data", GARBAGE.values(), ids=GARBAGE.keys())
def test_garbage_is_no_manifest(data: bytes) -> None:
    assert data != GOOD
    with pytest.raises(CheckpointError, match=r"^here (is damaged|has format 9)"):
        decode_manifest(data, "here")


def test_garbage_that_head_vouches_for_is_passed_over(good: dict[str, bytes]) -> None:
    for data in GARBAGE.values():
        if b'"format":9' not in data:  # of a newer ktrain: told, never passed over
            step, fell_back, _ = restore_alone(with_changes(good, **head_with(good, data)))
            assert step == 2
            assert "step-000000003/manifest.json is damaged" in fell_back[0]


def test_a_manifest_of_another_step_than_head_says_is_named(good: dict[str, bytes]) -> None:
    manifest = good[next(key for key in of_step(good, 3) if key.endswith(".json"))]
    storage = with_changes(good, **head_with(good, manifest, step=4))
    head = read_head(storage)
    assert isinstance(head, Head)
    assert head.newest
    with pytest.raises(DamagedError, match=r"is of step 3 of attempt 1, epoch 1; HEAD says step 4"):
        read_manifest(storage, head.newest)


def test_what_is_too_large_for_a_manifest_is_not_even_fetched(
    good: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ktrain.checkpoints.manifest.MAX_MANIFEST_BYTES", 100_000)
    newest = next(key for key in of_step(good, 3) if key.endswith(".json"))
    storage = with_changes(good, **{newest: bytes(100_001)})
    fetch, fetched = storage.get, list[str]()

    def get(key: str) -> tuple[bytes, str]:
        fetched.append(key)
        return fetch(key)

    monkeypatch.setattr(storage, "get", get)
    found = Checkpointer(storage, Token(1, 1), World(), run="run").restore(Marked(), None)
    assert found is not None
    assert found.step == 2
    assert "100001 bytes are more than any manifest has" in found.fell_back[0]
    assert fetched
    assert newest not in fetched


def test_a_manifest_larger_than_any_is_refused_unread(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ktrain.checkpoints.manifest.MAX_MANIFEST_BYTES", 1000)
    with pytest.raises(CheckpointError, match="1001 bytes are more than any manifest has"):
        decode_manifest(b"[" * 1001, "here")


def garbled_at_first(call: Call, act: Callable[[], T]) -> T:
    """Every first read of two comes with a wrong bit."""
    answer = act()
    if call.verb == "read" and call.nth % 2 == 0:
        assert isinstance(answer, bytes)
        return bytes([answer[0] ^ 1]) + answer[1:]  # type: ignore[return-value]
    return answer


def test_bytes_that_are_garbled_on_their_way_are_asked_for_again(good: dict[str, bytes]) -> None:
    storage = ScriptedStorage(with_changes(good), garbled_at_first)
    model = Marked()
    found = Checkpointer(storage, Token(1, 1), World(), run="run").restore(model, None)
    assert found is not None
    assert (found.step, found.fell_back) == (3, ())
    assert model.read_mark() == (1, 3)


SIZES: Final = ("chunks", "columns", "one chunk again and again", "tensors", "objects", "aliases", "checksums")
_DECODE = """
import json, resource, sys
from ktrain.checkpoints.manifest import decode_manifest
from ktrain.errors import CheckpointError, CheckpointMismatchError
from tests.checkpoint.huge import huge
data = huge(sys.argv[1], int(sys.argv[2]))
now = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (now + 20 * len(data) + (64 << 20),) * 2)
try:
    decode_manifest(data, "here")
    print("whole")
except CheckpointError as error:
    print(error)
"""


def decode_in_bounds(kind: str, count: int) -> str:
    """In a process that may take twenty bytes of memory for each of the manifest's; killed after some minutes."""
    done = subprocess.run(
        [sys.executable, "-c", _DECODE, kind, str(count)],
        capture_output=True,
        text=True,
        timeout=400,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    return done.stdout.strip()


@pytest.mark.parametrize("kind", SIZES)
def test_a_manifest_of_very_many_entries_is_judged_in_bounded_time_and_memory(kind: str) -> None:
    said = decode_in_bounds(kind, 20_000)
    assert said == "whole" if kind in {"chunks", "columns", "tensors"} else said.startswith("here is damaged")


@pytest.mark.slow
def test_a_million_entries_too() -> None:
    assert decode_in_bounds("columns", 1_000_000) == "whole"  # whose tiling takes the most arithmetic
