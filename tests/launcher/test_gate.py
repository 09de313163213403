"""The budget as storage keeps it: what is read, what is passed over, and what a storage that fails costs."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from ktrain import names
from ktrain.errors import StorageError
from ktrain.history import Commit, Token, claim_epoch, commit
from ktrain.names import Exit
from ktrain.spec.platform import Restart
from ktrain.storage import Storage
from ktrain.storage.base import Stat
from ktrain.storage.memory import MemoryStorage
from ktrain_launcher.gate import MAX_READ, Gate
from ktrain_launcher.journal import Journal
from ktrain_launcher.past import MAX_FAULTS

RESTART = Restart.model_validate({"max": 2, "window": "1h", "backoff": {"base": "10s", "cap": "1m"}})


class Watched(MemoryStorage):
    """Counts what is asked of it, and fails for keys that hold a word."""

    def __init__(self, broken: str = "?") -> None:
        super().__init__()
        self.broken = broken
        self.gets: list[str] = []
        self.lists: list[str] = []

    def get(self, key: str) -> tuple[bytes, str]:
        self.gets.append(key)
        if self.broken in key:
            raise StorageError("away")
        return super().get(key)

    def list(self, prefix: str = "") -> Iterator[Stat]:
        self.lists.append(prefix)
        if self.broken in prefix:
            raise StorageError("away")
        return super().list(prefix)


class Job:
    """Epochs that fail one after the other, and launchers that look at them."""

    def __init__(self, storage: Storage, restart: Restart = RESTART) -> None:
        self.storage, self.restart = storage, restart
        self.said: list[tuple[str, dict[str, Any]]] = []
        self.now = 1e9
        self.journal = Journal(storage, self.say)

    def say(self, event: str, **fields: Any) -> None:
        self.said.append((event, fields))

    def gate(self, node: int = 0, *, is_stopped: bool = False) -> Gate:
        return Gate(
            self.storage, self.journal, self.restart, attempt=1, node=node, pause=lambda _seconds: is_stopped,
            say=self.say, clock=lambda: self.now,
        )  # fmt: skip

    def tick(self) -> bool:
        """A second goes by."""
        self.now += 1
        return True

    def fail(self, *, saved_step: int | None = None) -> Token:
        """One more epoch."""
        token = claim_epoch(self.storage, attempt=1)
        if saved_step is not None:
            made = Commit(saved_step, "m", "0" * 64, token.attempt, token.epoch, 1, self.now)
            commit(self.storage, token, made, keep=lambda commits: commits)
        first = {"rank": 1, "code": 137, "message": "rank 1 was killed"}
        self.now += 1
        end = {"ended": self.now, "cause": "killed", "counted": True, "first_failure": first}
        self.journal.epoch(token, started=self.now - 1, end=end)
        return token


def test_the_first_claim_costs_one_list_request() -> None:
    storage = Watched()
    parking = Job(storage).gate().look()
    assert (parking.failures, parking.seconds) == (0, 0)
    assert (storage.lists, storage.gets) == (["state/epochs/"], [])


def test_only_records_after_the_newest_commit_are_read() -> None:
    storage = Watched()
    job = Job(storage)
    job.fail()
    job.fail(saved_step=7)
    last = job.fail()
    storage.gets.clear()
    assert job.gate().look().failures == 1
    assert storage.gets == [names.KEY_HEAD, f"state/epochs/{last.prefix}.json"]


def test_what_is_long_over_is_not_read() -> None:
    storage = Watched()
    job = Job(storage)
    for _ in range(3):
        job.fail()
    job.now = 5e9  # the records were modified today
    storage.gets.clear()
    assert job.gate().look().failures == 0
    assert storage.gets == [names.KEY_HEAD, "state/epochs/a0001-e0003.json"]


def test_at_most_so_many_records_are_read_and_the_newest_at_that() -> None:
    storage = Watched()
    job = Job(storage)
    for epoch in range(9900, 10_200):
        job.journal.epoch(Token(1, epoch), started=job.now)
    job.gate().look()
    assert len(storage.gets) == 1 + MAX_READ
    assert storage.gets[1] == "state/epochs/a0001-e10199.json"


def test_a_large_budget_can_be_spent_too() -> None:
    job = Job(MemoryStorage(), RESTART.model_copy(update={"max": MAX_READ + 50}))
    for epoch in range(1, MAX_READ + 52):
        job.journal.epoch(Token(1, epoch), started=job.now)
    assert job.gate().look().sentence.startswith(f"gave up after {MAX_READ + 51} failures")


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b'{"started": 1}',
        b'{"started": NaN, "ended": null}',
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"started": "1"}',
    ],
    ids=["empty", "list", "half", "nan", "deep", "bytes", "text"],
)
def test_unreadable_records_are_passed_over_and_counted(data: bytes) -> None:
    job = Job(MemoryStorage())
    job.fail()
    job.storage.put("state/epochs/a0001-e0009.json", data)
    assert job.gate().look().failures == 1
    assert job.said == [("records_unreadable", {"key": "state/epochs", "count": 1})]


@pytest.mark.parametrize("name", ["x.json", "a1-e2.json", "a0001-e0002", "a0001-e0002.json.tmp/x", "a0001.json"])
def test_what_is_no_record_is_not_read(name: str) -> None:
    storage = Watched()
    job = Job(storage)
    job.storage.put(f"state/epochs/{name}", b"{}")
    job.gate().look()
    assert not [event for event, _ in job.said if event != "records_unreadable"]


@pytest.mark.parametrize("broken", ["state/epochs", "HEAD"])
def test_a_storage_that_does_not_answer_opens_the_gate(broken: str) -> None:
    storage = Watched()
    job = Job(storage)
    for _ in range(9):
        job.fail()
    storage.broken = broken
    assert not job.gate().look().sentence
    assert {event for event, _ in job.said} <= {"storage_failed", "records_unreadable"}
    assert len(job.said) == 1


def test_records_that_are_refused_are_not_all_tried() -> None:
    storage = Watched()
    job = Job(storage)
    for _ in range(9):
        job.fail()
    storage.broken = "-e"
    storage.gets.clear()
    assert job.gate().look().failures == 0
    assert len(storage.gets) == 1 + MAX_FAULTS


def test_one_that_is_told_to_stop_reads_no_further() -> None:
    storage = Watched()
    job = Job(storage)
    for _ in range(9):
        job.fail()
    storage.gets.clear()
    assert job.gate(is_stopped=True).look().failures == 0
    assert storage.gets == [names.KEY_HEAD]


def test_whoever_submits_a_job_again_that_was_given_up_finds_a_whole_budget() -> None:
    job = Job(MemoryStorage())
    for _ in range(3):
        job.fail()
    gate = job.gate()
    parking = gate.look()
    assert parking.sentence.startswith("gave up after 3 failures")
    assert gate.newest == Token(1, 3)
    gate.close(parking)
    record = json.loads(job.storage.get("state/epochs/a0001-e0004-exhausted.json")[0])
    assert (record["cause"], record["first_failure"]["message"]) == ("exhausted", parking.sentence)
    job.now += 1
    assert job.gate().look().failures == 0
    job.fail()
    assert job.gate().look().failures == 1


def test_a_launcher_that_fails_by_our_own_mistake_comes_back_only_so_often() -> None:
    job = Job(MemoryStorage())
    ends = [job.gate(node=1).charge(RuntimeError(f"mistake {time}")) for time in range(3) if job.tick()]
    assert [end.code for end in ends] == [Exit.PEER, Exit.PEER, Exit.EXHAUSTED]
    assert ends[0].message == "the launcher failed: RuntimeError: mistake 0"
    assert ends[2].message.endswith("the last one: node 1: the launcher failed: RuntimeError: mistake 2")


def test_a_commit_forgives_our_mistakes_too() -> None:
    job = Job(MemoryStorage())
    for _ in range(2):
        job.tick()
        job.gate().charge(RuntimeError("mistake"))
    job.fail(saved_step=1)
    job.tick()
    assert job.gate().charge(RuntimeError("mistake")).code == Exit.PEER


@pytest.mark.parametrize("broken", ["HEAD", "state/epochs"])
def test_our_own_mistake_without_storage_is_still_told(broken: str) -> None:
    storage = Watched(broken)
    assert Job(storage).gate().charge(RuntimeError("mistake")).code == Exit.PEER
