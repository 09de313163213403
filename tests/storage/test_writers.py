"""Conditional writes between real processes: exactly one wins, and no update is lost."""

import multiprocessing
from typing import Any

import pytest

from ktrain.errors import Conflict
from ktrain.storage import open_storage

_SPAWN = multiprocessing.get_context("spawn")
_WRITERS, _ROUNDS = 4, 8


def write(place: tuple[str, str | None], writer: int, barrier: Any, results: Any) -> None:
    """Creates one object per round against the others, then adds to a shared counter."""
    storage = open_storage(place[0], endpoint=place[1])
    assert storage.is_fenced
    wins = []
    for number in range(_ROUNDS):
        barrier.wait(60)
        try:
            storage.create(f"once/{number}", str(writer).encode())
            wins.append(number)
        except Conflict:
            pass
    added = 0
    while added < _ROUNDS:
        value, tag = storage.get("counter")
        try:
            storage.replace("counter", str(int(value) + 1).encode(), tag=tag)
            added += 1
        except Conflict:
            pass
    results.put((writer, wins))


@pytest.mark.slow
def test_of_many_writers_exactly_one_wins(place: tuple[str, str | None]) -> None:
    storage = open_storage(place[0], endpoint=place[1])
    storage.create("counter", b"0")
    barrier, results = _SPAWN.Barrier(_WRITERS), _SPAWN.Queue()
    writers = [_SPAWN.Process(target=write, args=(place, n, barrier, results)) for n in range(_WRITERS)]
    for process in writers:
        process.start()
    wins = dict(results.get(timeout=120) for _ in writers)
    for process in writers:
        process.join()
    results.close()
    results.join_thread()

    assert sorted(number for won in wins.values() for number in won) == list(range(_ROUNDS))
    for writer, won in wins.items():
        assert all(storage.get(f"once/{number}")[0] == str(writer).encode() for number in won)
    assert storage.get("counter")[0] == str(_WRITERS * _ROUNDS).encode()
