"""One HEAD per run: claims and commits are conditional updates of it, so a zombie loses."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from ktrain.errors import CheckpointError, CheckpointMismatchError, FencedError, StorageError
from ktrain.history import Commit, Head, Token, claim_epoch, commit, mark_done, read_head
from ktrain.storage import Storage, open_storage
from ktrain.storage.memory import MemoryStorage
from tests.faults import FaultyStorage, refuse


def a_commit(token: Token, step: int) -> Commit:
    key = f"{token.prefix}/step-{step:09d}/manifest.json"
    return Commit(step, key, "0" * 64, token.attempt, token.epoch, 100, 1.5)


def keep_all(commits: Sequence[Commit]) -> Sequence[Commit]:
    return commits


def save(storage: Storage, token: Token, step: int) -> Head:
    return commit(storage, token, a_commit(token, step), keep=keep_all)[0]


def test_a_run_that_nobody_claimed_has_no_head() -> None:
    assert read_head(MemoryStorage()) is None


def test_each_claim_is_a_new_epoch() -> None:
    storage = MemoryStorage()
    claims = [claim_epoch(storage, attempt=attempt) for attempt in (1, 1, 2, 2, 5)]
    assert claims == [Token(1, 1), Token(1, 2), Token(2, 3), Token(2, 4), Token(5, 5)]
    assert claims[1].prefix == "a0001-e0002"
    assert Token.parse("a0001-e0002") == claims[1]


@pytest.mark.parametrize("text", ["", "a1-e2", "a0001-e0002/", "metrics", "a0001_e0002", "a-001-e0002"])
def test_other_folders_are_no_epochs(text: str) -> None:
    with pytest.raises(ValueError, match="is no epoch"):
        Token.parse(text)


def test_an_older_attempt_cannot_claim() -> None:
    storage = MemoryStorage()
    claim_epoch(storage, attempt=2)
    with pytest.raises(FencedError, match="attempt 2 has taken over, attempt 1 must not write"):
        claim_epoch(storage, attempt=1)


def test_a_zombie_that_was_replaced_cannot_claim_again() -> None:
    storage = MemoryStorage()
    zombie = claim_epoch(storage, attempt=1)
    new = claim_epoch(storage, attempt=1)
    with pytest.raises(FencedError, match="a0001-e0002 has taken over, a0001-e0001 must not write"):
        claim_epoch(storage, attempt=1, held=zombie)
    assert claim_epoch(storage, attempt=1, held=new).epoch == 3


def test_commits_are_kept_with_the_newest_last() -> None:
    storage = MemoryStorage()
    token = claim_epoch(storage, attempt=1)
    save(storage, token, 10)
    head = save(storage, token, 20)
    assert [it.step for it in head.commits] == [10, 20]
    assert head == read_head(storage)
    assert head.newest == a_commit(token, 20)


def test_what_is_not_kept_is_handed_back() -> None:
    storage = MemoryStorage()
    token = claim_epoch(storage, attempt=1)
    save(storage, token, 10)
    head, removed = commit(storage, token, a_commit(token, 20), keep=lambda commits: commits[-1:])
    assert removed == (a_commit(token, 10),)
    assert head.commits == (a_commit(token, 20),)


def test_a_zombie_of_an_older_epoch_cannot_commit() -> None:
    storage = MemoryStorage()
    zombie = claim_epoch(storage, attempt=1)
    save(storage, zombie, 10)
    claim_epoch(storage, attempt=1)
    with pytest.raises(FencedError, match=r"a0001-e0002 has taken over, a0001-e0001 must not write"):
        save(storage, zombie, 20)
    with pytest.raises(FencedError):
        mark_done(storage, zombie)
    head = read_head(storage)
    assert head is not None
    assert [it.step for it in head.commits] == [10]


def test_a_claim_in_the_middle_of_a_commit_fences_it() -> None:
    storage = MemoryStorage()
    zombie = claim_epoch(storage, attempt=1)

    def claim_meanwhile(commits: Sequence[Commit]) -> Sequence[Commit]:
        claim_epoch(storage, attempt=1)
        return commits

    with pytest.raises(FencedError):
        commit(storage, zombie, a_commit(zombie, 20), keep=claim_meanwhile)


def test_a_commit_drops_the_future_that_was_abandoned() -> None:
    storage = MemoryStorage()
    old = claim_epoch(storage, attempt=1)
    for step in (10, 20, 30):
        save(storage, old, step)
    new = claim_epoch(storage, attempt=1)
    head, removed = commit(storage, new, a_commit(new, 20), keep=keep_all)
    assert [(it.step, it.epoch) for it in head.commits] == [(10, 1), (20, 2)]
    assert [it.step for it in removed] == [20, 30]


def test_done_is_marked_and_a_later_commit_takes_it_back() -> None:
    storage = MemoryStorage()
    token = claim_epoch(storage, attempt=1)
    save(storage, token, 10)
    assert mark_done(storage, token).done
    assert not save(storage, token, 20).done


def test_each_head_is_unique_so_that_a_hash_tells_it() -> None:
    storage = MemoryStorage()
    token = claim_epoch(storage, attempt=1)
    contents = []
    for _ in range(3):
        mark_done(storage, token)
        contents.append(storage.get("HEAD")[0])
    assert len(set(contents)) == 3


def test_a_head_that_is_gone_is_not_made_anew_by_a_commit() -> None:
    with pytest.raises(CheckpointError, match="HEAD is gone"):
        save(MemoryStorage(), Token(1, 1), 10)


def test_endless_races_end_with_a_sentence() -> None:
    storage = MemoryStorage()
    token = claim_epoch(storage, attempt=1)

    def interfere(commits: Sequence[Commit]) -> Sequence[Commit]:
        data, _ = storage.get("HEAD")
        storage.put("HEAD", data)
        return commits

    with pytest.raises(StorageError, match="races in a row"):
        commit(storage, token, a_commit(token, 1), keep=interfere)


def test_a_storage_failure_is_not_taken_for_a_lost_race() -> None:
    storage = MemoryStorage()
    token = claim_epoch(storage, attempt=1)
    with pytest.raises(StorageError, match="the disk is full"):
        save(FaultyStorage(storage, refuse, only="replace"), token, 1)


GOOD = json.loads('{"format": 1, "attempt": 1, "epoch": 2, "commits": [], "done": false, "serial": 3}')


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"", "is not JSON"),
        (b"{", "is not JSON"),
        (b"\xff\xfe", "is not JSON"),
        (b"[" * 100_000, "is not JSON"),
        (b"[]", "expected a JSON object, found list"),
        (b"{}", "its format is None"),
        (json.dumps(GOOD | {"format": True}).encode(), "its format is True"),
        (json.dumps(GOOD | {"epoch": -1}).encode(), "epoch"),
        (json.dumps(GOOD | {"epoch": "x"}).encode(), "epoch"),
        (json.dumps(GOOD | {"surprise": 1}).encode(), "surprise"),
        (json.dumps(GOOD | {"commits": [{"step": 1}]}).encode(), "commits"),
    ],
)
def test_a_damaged_head_is_named(data: bytes, sentence: str) -> None:
    storage = MemoryStorage()
    storage.put("HEAD", data)
    with pytest.raises(CheckpointError, match=rf"{storage.url}/HEAD is damaged: .*{sentence}"):
        read_head(storage)


def test_a_head_of_a_newer_ktrain_is_refused() -> None:
    storage = MemoryStorage()
    storage.put("HEAD", json.dumps(GOOD | {"format": 2, "surprise": 1}).encode())
    with pytest.raises(CheckpointMismatchError, match="has format 2, this ktrain reads up to format 1; use the ktrain"):
        claim_epoch(storage, attempt=9)


def test_the_head_of_format_1_stays_readable() -> None:
    golden = Path(__file__).parent / "golden"
    token = Token(3, 7)
    wanted = Head(1, 3, 7, (replace(a_commit(token, 500), metric=1.25), a_commit(token, 600)), done=True, serial=12)
    assert read_head(open_storage(str(golden))) == wanted
