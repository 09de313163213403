"""Whatever happens to stored bytes is noticed, named and stepped over; nothing live changes before."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from ktrain.errors import CheckpointError, StorageError
from ktrain.history import claim_epoch
from ktrain.storage import Storage, open_storage
from ktrain_trainer.checkpoint import Checkpointer, Retention, World
from ktrain_trainer.checkpoint.restored import Restored
from tests.checkpoint.models import build, digests, reference, train
from tests.checkpoint.work import SMALL
from tests.faults import FaultyStorage, refuse

Damage = Callable[[Path], str]
"""Does something to the folder of a checkpoint and returns what the reason must say."""


def checkpointer(storage: Storage, keep: int = 3) -> Checkpointer:
    token = claim_epoch(storage, attempt=1)
    return Checkpointer(storage, token, World(), run="run", retention=Retention(keep), options=SMALL)


def save_steps(storage: Storage, *steps: int) -> None:
    saver = checkpointer(storage)
    model, optimizer = build("plain", "tiny")
    done = 0
    for step in steps:
        train(model, optimizer, range(done, step))
        saver.save(step, model, optimizer, {"step": step}).result(30)
        done = step
    saver.close()


def restore(storage: Storage) -> tuple[Restored, dict[str, str]]:
    model, optimizer = build("plain", "tiny", start=99.0)
    restored = checkpointer(storage).restore(model, optimizer)
    assert restored is not None
    return restored, digests(model, optimizer)


def flip(folder: Path) -> str:
    path = sorted(folder.glob("*.bin"))[1]
    data = bytearray(path.read_bytes())
    data[100] ^= 1
    path.write_bytes(data)
    return f"{path.name} is damaged: the checksum of block 1 is "


def truncate(folder: Path) -> str:
    path = sorted(folder.glob("*.bin"))[-1]
    path.write_bytes(path.read_bytes()[:-1])
    return f"{path.name} is truncated"


def swap(folder: Path) -> str:
    one, two = sorted(folder.glob("*.bin"))[:2]
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    return ".bin is "


def lose_object(folder: Path) -> str:
    path = sorted(folder.glob("*.bin"))[0]
    path.unlink()
    return f"{path.name} is missing"


def lose_manifest(folder: Path) -> str:
    (folder / "manifest.json").unlink()
    return "manifest.json is missing"


def lose_all(folder: Path) -> str:
    for path in folder.iterdir():
        path.unlink()
    return "manifest.json is missing"


def edit_manifest(folder: Path) -> str:
    path = folder / "manifest.json"
    path.write_text(path.read_text().replace('"step":3', '"step":4'))
    return "manifest.json is damaged: its sha256 is "


def empty_manifest(folder: Path) -> str:
    (folder / "manifest.json").write_bytes(b"")
    return "manifest.json is damaged"


def take_anothers_object(folder: Path) -> str:
    path = sorted(folder.glob("*.bin"))[0]
    path.write_bytes((folder.parent / "step-000000002" / path.name).read_bytes())
    return f"{path.name} is damaged"


DAMAGES = [
    flip, truncate, swap, lose_object, lose_manifest, lose_all, edit_manifest, empty_manifest,
    take_anothers_object,
]  # fmt: skip


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damage_is_named_and_the_previous_checkpoint_serves(tmp_path: Path, damage: Damage) -> None:
    storage = open_storage(str(tmp_path))
    save_steps(storage, 1, 2, 3)
    reason = damage(tmp_path / "a0001-e0001/step-000000003")
    restored, found = restore(storage)
    assert restored.step == 2
    assert restored.meta == {"step": 2}
    assert found == reference(2, "tiny")
    assert len(restored.fell_back) == 1
    assert restored.fell_back[0].startswith(f"step 3: {storage.url}/a0001-e0001/step-000000003/")
    assert reason in restored.fell_back[0]


def test_training_goes_on_from_where_it_fell_back_to(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    save_steps(storage, 1, 2, 3)
    lose_manifest(tmp_path / "a0001-e0001/step-000000003")
    saver = checkpointer(storage)
    model, optimizer = build("plain", "tiny")
    assert saver.restore(model, optimizer) is not None
    train(model, optimizer, range(2, 3))
    saver.save(3, model, optimizer, {"step": "3 again"}).result(30)
    saver.close()
    restored, found = restore(storage)
    assert (restored.step, restored.meta, restored.fell_back) == (3, {"step": "3 again"}, ())
    assert found == reference(3, "tiny")
    assert not (tmp_path / "a0001-e0001/step-000000003").exists()


def test_every_single_bit_flip_is_noticed(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    save_steps(storage, 1, 2)
    objects = sorted((tmp_path / "a0001-e0001/step-000000002").glob("*.bin"))
    for path in objects:
        good = path.read_bytes()
        for at in range(0, len(good), 61):
            path.write_bytes(good[:at] + bytes([good[at] ^ 0x10]) + good[at + 1 :])
            restored, _ = restore(storage)
            assert restored.step == 1
            assert path.name in restored.fell_back[0]
        path.write_bytes(good)


def test_when_none_is_whole_each_reason_is_told_and_nothing_live_changes(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    save_steps(storage, 1, 2)
    flip(tmp_path / "a0001-e0001/step-000000001")
    lose_manifest(tmp_path / "a0001-e0001/step-000000002")
    model, optimizer = build("plain", "tiny", start=99.0)
    train(model, optimizer, range(1))
    before = digests(model, optimizer)
    with pytest.raises(CheckpointError, match=r"none of 2 checkpoints is whole: step 2: .*missing; step 1: .*damaged"):
        checkpointer(storage).restore(model, optimizer)
    assert digests(model, optimizer) == before


def test_a_storage_that_is_down_is_no_damage(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    save_steps(storage, 1, 2)
    saver = checkpointer(storage)
    for only in ("read", "manifest.json"):
        faulty = FaultyStorage(storage, refuse, only=only)
        saver = Checkpointer(faulty, claim_epoch(storage, attempt=1), World(), run="run")
        with pytest.raises(StorageError, match="the disk is full"):
            saver.restore(*build("plain", "tiny"))


def test_a_damaged_head_is_told(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    save_steps(storage, 1)
    saver = checkpointer(storage)
    (tmp_path / "HEAD").write_text("{")
    with pytest.raises(CheckpointError, match="HEAD is damaged"):
        saver.restore(*build("plain", "tiny"))


def test_a_checkpoint_of_a_newer_ktrain_is_refused_rather_than_passed_over(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    save_steps(storage, 1, 2)
    head = json.loads((tmp_path / "HEAD").read_text())
    path = tmp_path / head["commits"][-1]["manifest"]
    path.write_text(path.read_text().replace('"format":1', '"format":2'))
    head["commits"][-1]["sha256"] = hashlib.sha256(path.read_bytes()).hexdigest()
    (tmp_path / "HEAD").write_text(json.dumps(head))
    with pytest.raises(CheckpointError, match="has format 2, this ktrain reads up to format 1"):
        checkpointer(storage).restore(*build("plain", "tiny"))


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_a_writer_cut_off_at_any_call_leaves_a_whole_checkpoint(tmp_path: Path, after: bool) -> None:
    for at in range(100):
        storage = open_storage(f"{tmp_path}/{at}")
        save_steps(storage, 1)
        model, optimizer = build("plain", "tiny")
        train(model, optimizer, range(2))
        faulty = FaultyStorage(storage, refuse, at=at, after=after)
        saver = Checkpointer(
            faulty, claim_epoch(storage, attempt=1), World(), run="run", retention=Retention(1), options=SMALL
        )
        pending = saver.save(2, model, optimizer, {})
        saver.close()
        restored, found = restore(storage)
        assert found == reference(restored.step, "tiny")
        assert restored.fell_back == ()
        assert restored.step == 2 or not _is_committed(pending.result)
        if len(faulty.calls) <= at:
            break
    assert at > 8
    assert restored.step == 2


def _is_committed(result: Callable[[], object]) -> bool:
    try:
        result()
    except StorageError:
        return False
    return True


def test_what_older_epochs_left_is_swept_and_what_is_named_stays(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    save_steps(storage, 1)
    storage.put("a0001-e0001/step-000000007/0000-0000.bin", b"half a save")
    storage.put("metrics/a0001-e0001/000001.jsonl", b"{}")
    storage.put("a0009-e0099/step-000000007/0000-0000.bin", b"a later epoch's")
    save_steps(storage, 2)
    folders = {path.relative_to(tmp_path).as_posix() for path in tmp_path.glob("*/*")}
    assert folders == {
        "a0001-e0001/step-000000001",
        "a0001-e0002/step-000000002",
        "a0009-e0099/step-000000007",
        "metrics/a0001-e0001",
    }


def test_retention_removes_the_bytes_of_what_it_drops(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    saver = checkpointer(storage, keep=2)
    model, optimizer = build("plain", "sgd")
    for step in (1, 2, 3, 4):
        saver.save(step, model, optimizer, {}).result(30)
    saver.close()
    assert [path.name for path in sorted(tmp_path.glob("*/*"))] == ["step-000000003", "step-000000004"]


def test_a_save_that_fails_does_not_stop_the_next(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    faulty = FaultyStorage(storage, refuse, only="create", for_ever=False)
    saver = Checkpointer(faulty, claim_epoch(storage, attempt=1), World(), run="run", options=SMALL)
    model, optimizer = build("plain", "tiny")
    train(model, optimizer, range(2))
    failed = saver.save(2, model, optimizer, {})
    again = saver.save(2, model, optimizer, {})
    with pytest.raises(StorageError, match="the disk is full"):
        failed.result(30)
    assert again.result(30).manifest == "a0001-e0001/step-000000002-2/manifest.json"
    assert restore(storage)[1] == reference(2, "tiny")


def test_a_save_holds_the_state_of_its_call(tmp_path: Path) -> None:
    storage = open_storage(str(tmp_path))
    saver = checkpointer(storage)
    model, optimizer = build("plain", "tiny")
    train(model, optimizer, range(2))
    pending = saver.save(2, model, optimizer, {})
    train(model, optimizer, range(2, 5))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert pending.result(30).step == 2
    assert pending.done()
    assert pending.seconds is not None
    assert pending.stall_seconds > 0
    assert pending.size_bytes == pending.result().size_bytes
    assert restore(storage)[1] == reference(2, "tiny")
