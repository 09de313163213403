"""W&B as a sink, offline: what is in the files that `wandb sync` would send."""

import importlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ktrain.history import Token
from ktrain.spec.track import Track
from ktrain.storage import Storage, open_storage
from ktrain.storage.memory import MemoryStorage
from ktrain_trainer.sinks import Facts, behind, open_sinks

# wandb 0.31 opens a file for a log of its own and leaves the closing to the interpreter.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
WHOLE, BLOCK = 1, 32768
FACTS = Facts("0b8e7f5a-run", "line", {"trainer.optim.lr": "0.1"})


def record(kind: str, step: int, epoch: int, **fields: Any) -> dict[str, Any]:
    return {"kind": kind, "time": 1e9, "step": step, "attempt": 1, "epoch": epoch, **fields}


def track(storage: Storage, scratch: Path, *, epoch: int, restored: int, steps: range, mode: str | None = None) -> None:
    """One epoch of the gang: from its start to a stop."""
    given = Track(sink="wandb", mode=mode, project="lines", tags=("baseline",), notes="a first try")
    sinks = open_sinks([given], storage, Token(1, epoch), scratch=scratch, facts=FACTS)
    for sink in sinks:
        sink.write(record("start", restored, epoch, restored_step=restored))
        for step in steps:
            sink.write(record("step", step, epoch, loss=1 / step))
        sink.write(record("stop", steps[-1], epoch))
        sink.close()


def chunks(data: bytes) -> Iterator[bytes]:
    """Records of a .wandb file: LevelDB's log format after a header of seven bytes; small ones are one chunk each."""
    at = 7
    while at + 7 <= len(data):
        length, kind = struct.unpack_from("<HB", data, at + 4)
        if kind == WHOLE:
            yield data[at + 7 : at + 7 + length]
        at += 7 + length
        at += -at % BLOCK if BLOCK - at % BLOCK < 7 else 0


def read(path: Path) -> tuple[Any, list[dict[str, Any]]]:
    """The run and the points in a .wandb file."""
    proto: Any = importlib.import_module("wandb.proto.wandb_internal_pb2")
    run, points = None, []
    for data in chunks(path.read_bytes()):
        found = proto.Record()
        found.ParseFromString(data)
        if found.HasField("run"):
            run = found.run
        if found.HasField("history"):
            points.append({it.key or "/".join(it.nested_key): json.loads(it.value_json) for it in found.history.item})
    return run, points


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(behind, "CLOSE_SECONDS", 60.0)


@pytest.mark.slow
def test_each_restart_writes_the_same_run_and_its_files_reach_the_storage(tmp_path: Path) -> None:
    storage = MemoryStorage()
    track(storage, tmp_path / "pod 1", epoch=1, restored=0, steps=range(1, 6))
    track(open_storage(str(tmp_path / "run")), tmp_path, epoch=2, restored=3, steps=range(4, 7))
    for found in storage.list("wandb/"):
        copy = tmp_path / "copy" / found.key
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(storage.get(found.key)[0])
    (first,) = (tmp_path / "copy").rglob("*.wandb")
    (second,) = (tmp_path / "run" / "wandb").rglob("*.wandb")
    told = [read(path) for path in (first, second)]
    for run, _ in told:
        assert (run.run_id, run.project, run.display_name, list(run.tags)) == (FACTS.run, "lines", "line", ["baseline"])
    points = [(point["ktrain/step"], point["ktrain/epoch"]) for _, found in told for point in found]
    assert points == [(1, 1), (2, 1), (3, 1), (4, 1), (5, 1), (4, 2), (5, 2), (6, 2)]
    assert told[0][1][1]["train/loss"] == 0.5


def test_disabled_writes_nothing(tmp_path: Path) -> None:
    track(open_storage(str(tmp_path / "run")), tmp_path, epoch=1, restored=0, steps=range(1, 3), mode="disabled")
    assert not list(tmp_path.rglob("wandb*"))
