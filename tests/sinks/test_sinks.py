"""Sinks keep what they are given and never stop training."""

import logging
import re
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from ktrain.errors import StorageError
from ktrain.history import Token
from ktrain.records import read_records
from ktrain.spec.track import Track
from ktrain.storage import open_storage
from ktrain.storage.memory import MemoryStorage
from ktrain_trainer.sinks import Facts, behind, open_sinks
from ktrain_trainer.sinks.behind import Behind, RefusedError
from ktrain_trainer.sinks.jsonl import JsonLines
from ktrain_trainer.sinks.mirror import Mirror
from ktrain_trainer.sinks.tensorboard import TensorBoard
from tests.faults import FaultyStorage, refuse

TOKEN = Token(1, 2)


def record(kind: str, step: int, **fields: Any) -> dict[str, Any]:
    return {"kind": kind, "time": 0.0, "step": step, **fields}


def test_lines_are_read_back_in_order() -> None:
    storage = MemoryStorage()
    sink = JsonLines(storage, TOKEN)
    for step in range(5):
        sink.write(record("step", step, loss=1 / 3))
    sink.write(record("eval", 5, values={"val/loss": 2.0}))
    sink.close()
    found = read_records(storage)
    assert [it["step"] for it in found.all] == [0, 1, 2, 3, 4, 5]
    assert found.all[0]["loss"] == 1 / 3


def test_steps_wait_for_company_and_evaluations_do_not() -> None:
    storage = MemoryStorage()
    sink = JsonLines(storage, TOKEN)
    sink.write(record("step", 1))
    sink.write(record("eval", 1, values={}))
    sink.write(record("step", 2))
    sink.close()
    assert [stat.key for stat in storage.list("metrics/")] == [
        "metrics/a0001-e0002/000001.jsonl",
        "metrics/a0001-e0002/000002.jsonl",
    ]


class Broken(MemoryStorage):
    def put(self, key: str, data: Any) -> str:
        raise StorageError("the bucket is on fire")


def test_storage_that_fails_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    sink = JsonLines(Broken(), TOKEN)
    with caplog.at_level(logging.WARNING, logger="ktrain"):
        for step in range(3):
            sink.write(record("eval", step, values={}))
        sink.close()
    assert [it.getMessage() for it in caplog.records] == ["metrics are not kept for now: the bucket is on fire"]


def scalars(folder: Path, tag: str) -> list[tuple[int, float]]:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars(tag)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_shows_each_step_once_after_a_restart(tmp_path: Path) -> None:
    for restored, steps in ((0, range(1, 11)), (6, range(7, 13))):
        sink = TensorBoard(tmp_path)
        sink.write(record("start", restored, restored_step=restored))
        for step in steps:
            sink.write(record("step", step, loss=float(step), lr=0.1))
        sink.close()
    assert [step for step, _ in scalars(tmp_path, "train/loss")] == list(range(1, 13))


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_lives_beside_the_checkpoints(tmp_path: Path) -> None:
    sinks = open_sinks([Track(sink="tensorboard")], open_storage(str(tmp_path / "a run")), TOKEN, scratch=tmp_path)
    for sink in sinks:
        sink.write(record("start", 0, restored_step=0))
        sink.write(record("eval", 3, values={"val/loss": 1.5}))
        sink.close()
    assert scalars(tmp_path / "a run" / "tensorboard", "val/loss") == [(3, 1.5)]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_tensorboard_reaches_storage_that_is_no_folder(tmp_path: Path) -> None:
    """Two epochs on two pods: each with a scratch folder of its own."""
    storage = MemoryStorage()
    for epoch, restored, steps in ((1, 0, range(1, 11)), (2, 6, range(7, 13))):
        sinks = open_sinks([Track(sink="tensorboard")], storage, Token(1, epoch), scratch=tmp_path / f"pod {epoch}")
        for sink in sinks:
            sink.write(record("start", restored, restored_step=restored))
            for step in steps:
                sink.write(record("step", step, loss=float(step)))
            sink.close()
    for found in storage.list("tensorboard/"):
        copy = tmp_path / "copy" / found.key
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(storage.get(found.key)[0])
    assert [step for step, _ in scalars(tmp_path / "copy" / "tensorboard", "train/loss")] == list(range(1, 13))


def test_a_mirror_that_fails_complains_once_and_catches_up(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    storage = MemoryStorage()
    for name in ("a", "b", "c"):
        (tmp_path / name).write_bytes(b"1")
    mirror = Mirror(tmp_path, FaultyStorage(storage, refuse, only="put", at=1, for_ever=False), "there")
    mirror.sync()
    mirror.close()
    assert len([it for it in caplog.records if it.getMessage().startswith("there is not kept for now")]) == 1
    assert {it.key for it in storage.list()} >= {"there/a", "there/c"}


@dataclass
class Moody:
    """A tracker that fails the first so many times, or refuses a step."""

    failures: int = 0
    refuses: int = 0
    name: str = "moody"
    seen: list[int] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    is_closed: bool = False

    def send(self, records: Sequence[Mapping[str, Any]]) -> None:
        self.gate.wait(10)
        if self.failures:
            self.failures -= 1
            raise ConnectionError("not at home")
        if any(it["step"] == self.refuses for it in records):
            raise RefusedError("that is no number")
        self.seen += [it["step"] for it in records]

    def close(self) -> None:
        self.is_closed = True


def test_a_tracker_that_is_away_is_told_once_and_gets_all_that_found_room(caplog: pytest.LogCaptureFixture) -> None:
    remote = Moody(failures=2)
    sink = Behind(remote, bound=5, every=0.0)
    for step in range(1, 9):
        sink.write(record("step", step))
    sink.write(record("end", 9))  # a turn of the run is never dropped
    remote.gate.set()
    while len(remote.seen) < 6:  # the thread's own pace
        threading.Event().wait(0.01)
    sink.close()
    assert remote.seen == [1, 2, 3, 4, 5, 9]
    assert remote.is_closed
    assert sink.dropped == 3
    assert [it.getMessage() for it in caplog.records] == [
        "moody: 5 records wait; from now on new ones are dropped",
        "moody does not take metrics for now, training goes on: ConnectionError: not at home",
        "moody takes metrics again; 3 records were dropped meanwhile",
    ]


def test_what_a_tracker_refuses_does_not_hold_up_the_rest() -> None:
    remote = Moody(refuses=1)
    remote.gate.set()
    sink = Behind(remote, every=0.0)
    sink.write(record("step", 1))
    while sink.is_waiting:
        threading.Event().wait(0.01)
    sink.write(record("step", 2))
    sink.close()
    assert remote.seen == [2]


def test_a_tracker_that_never_answers_holds_the_end_up_for_a_moment_only(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(behind, "CLOSE_SECONDS", 0.1)
    remote = Moody()
    sink = Behind(remote, every=0.0)
    sink.write(record("step", 1))
    sink.close()
    remote.gate.set()
    assert "moody has not taken everything within 0.1 s; the rest is lost" in caplog.text


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"sink": "mlflow", "uri": "http://me:pw@ml:5000"}, "the uri has credentials in it"),
        ({"sink": "mlflow", "uri": "http://ml:5000?token=x"}, "the uri has credentials in it"),
        (
            {"sink": "mlflow", "project": "x"},
            "the sink mlflow has no key project; it takes experiment, name, tags, uri",
        ),
        ({"sink": "tensorboard", "uri": "x"}, "the sink tensorboard has no key uri; it takes no further keys"),
        ({"sink": "mlflow", "tags": ["a"]}, "the sink mlflow takes tags as a mapping"),
        ({"sink": "wandb", "tags": {"a": "b"}}, "the sink wandb takes tags as a list"),
        ({"sink": "wandb", "mode": "dryrun"}, "offline"),
        ({"sink": "wandb", "project": "a/b"}, "project"),
    ],
)
def test_a_sink_takes_its_own_keys_and_no_secrets(given: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(message)):
        Track.model_validate(given)


def test_parameters_are_the_job_file_without_what_is_private() -> None:
    document = {
        "metadata": {"name": "line"},
        "spec": {"env": {"KEY": "s3cret"}, "nodes": 2, "trainer": {"optim": {"lr": 0.1, "clip": None}, "track": []}},
    }
    facts = Facts.of(document, "7f")
    assert facts == Facts("7f", "line", {"nodes": "2", "trainer.optim.lr": "0.1"})
