"""What is left behind: small enough, and never at the job's cost."""

import json
from pathlib import Path

import pytest

from ktrain.history import Token
from ktrain.names import KEY_DONE
from ktrain.storage.file import FileStorage
from ktrain.storage.memory import MemoryStorage
from ktrain_launcher.journal import MAX_TERMINATION_BYTES, Journal, Outcome, write_termination


def say(event: str, **fields: object) -> None:
    """Nobody listens."""


@pytest.mark.parametrize(
    "message", ["short", "x" * 100_000, "é" * 100_000, '"\n' * 50_000], ids=["short", "long", "accents", "quotes"]
)
def test_a_termination_message_fits_and_is_whole(tmp_path: Path, message: str) -> None:
    path = tmp_path / "log"
    write_termination(path, Outcome(70, message, rank=3, step=12, checkpoint=10), say)
    assert path.stat().st_size <= MAX_TERMINATION_BYTES
    found = json.loads(path.read_bytes())
    assert (found["cause"], found["code"], found["rank"], found["step"], found["checkpoint"]) == ("user", 70, 3, 12, 10)
    assert message.startswith(found["message"])


def test_a_termination_log_that_cannot_be_written_costs_a_line(tmp_path: Path) -> None:
    events: list[str] = []
    write_termination(tmp_path / "no/log", Outcome(0), lambda event, **_fields: events.append(event))
    assert events == ["termination_log_failed"]


def test_storage_that_fails_costs_lines(tmp_path: Path) -> None:
    (tmp_path / "runs").touch()
    events: list[str] = []
    journal = Journal(FileStorage(tmp_path / "runs"), lambda event, **_fields: events.append(event))
    journal.epoch(Token(1, 1), started=1.0)
    journal.verdict(Token(1, 1), 0, Outcome(0), {})
    journal.failed(Token(1, 1), 0, Outcome(200), started=1.0, at=2.0)
    journal.given_up(Token(1, 1), Outcome(69), at=2.0)
    assert not journal.is_done()
    assert events == ["storage_failed"] * len(events)
    assert len(events) >= 4


def test_the_trainers_own_completion_marker_is_kept() -> None:
    storage = MemoryStorage()
    storage.put(KEY_DONE, b"the trainer's")
    Journal(storage, say).finished(7)
    assert storage.get(KEY_DONE)[0] == b"the trainer's"


def test_an_epochs_record_has_all_its_keys_from_the_start() -> None:
    storage = MemoryStorage()
    journal = Journal(storage, say)
    journal.epoch(Token(1, 2), started=1.0)
    begun = json.loads(storage.get("state/epochs/a0001-e0002.json")[0])
    journal.epoch(Token(1, 2), started=1.0, end={"ended": 2.0, "cause": "done"})
    ended = json.loads(storage.get("state/epochs/a0001-e0002.json")[0])
    assert begun.keys() == ended.keys()
    assert (begun["ended"], ended["ended"], ended["started"]) == (None, 2.0, 1.0)


def test_a_verdict_of_a_launcher_without_ranks_keeps_the_lines_that_are_there() -> None:
    storage = MemoryStorage()
    journal = Journal(storage, say)
    journal.verdict(Token(1, 2), 0, Outcome(137), {0: ["the last line"]})
    journal.verdict(Token(1, 2), 0, Outcome(69, "gave up"), {})
    found = json.loads(storage.get("state/verdict-a0001-e0002-node0.json")[0])
    assert (found["code"], found["logs"]) == (69, {"0": ["the last line"]})


@pytest.mark.parametrize("before", [b"", b"[]", b"{}"], ids=["empty", "list", "nothing"])
def test_a_verdict_that_is_damaged_keeps_nobody_from_the_next(before: bytes) -> None:
    storage = MemoryStorage()
    storage.put("state/verdict-a0001-e0002-node0.json", before)
    Journal(storage, say).verdict(Token(1, 2), 0, Outcome(69, "gave up"), {})
    assert json.loads(storage.get("state/verdict-a0001-e0002-node0.json")[0])["logs"] == {}
