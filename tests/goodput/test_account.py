"""Every second of a job is productive, lost for one reason, or waits for a checkpoint; and no sum ever goes back."""

import random

import pytest

from ktrain.goodput import BADPUT, PRODUCTIVE, Account, Pending, accounts, key_of, newest, total, until_death
from ktrain.goodput.tell import Spent
from ktrain.storage.memory import MemoryStorage
from ktrain.units import count_gpus


def whole(account: Account) -> float:
    return sum(account.seconds.values()) + account.pending.seconds


def test_steps_are_productive_when_a_checkpoint_holds_them() -> None:
    """Ten steps of a second after step 20; the gang goes on from step 26."""
    account = Account(0, 10).work(10, 20, 30)
    assert account.seconds == {}
    assert account.resolve(26).seconds == pytest.approx({PRODUCTIVE: 6, "lost_work": 4})
    assert account.resolve(20).seconds == pytest.approx({PRODUCTIVE: 0, "lost_work": 10})
    assert account.resolve(30).seconds == account.resolve(99).seconds == pytest.approx({PRODUCTIVE: 10, "lost_work": 0})
    assert account.settle(is_done=True).seconds == {PRODUCTIVE: 10}
    assert account.settle(is_done=False).seconds == {"lost_work": 10}


def test_a_second_restart_before_any_commit_loses_both() -> None:
    account = Account(0, 15).work(10, 20, 30).work(5, 20, 25)
    assert account.pending == Pending(15, 20, 30)
    assert account.resolve(20).seconds["lost_work"] == 15


def test_time_never_goes_back_and_nothing_is_counted_twice() -> None:
    account = Account(100, 100).spend("queue", 130).spend("pull", 120).spend("start", 140)
    assert account.until == 140
    assert account.seconds == {"queue": 30, "pull": 0, "start": 10}


@pytest.mark.parametrize("seed", range(20))
def test_whatever_happens_the_parts_make_up_the_whole(seed: int) -> None:
    chance, account, before = random.Random(seed), Account(1000, 1000), dict.fromkeys((PRODUCTIVE, *BADPUT), 0.0)
    for _ in range(50):
        more = chance.uniform(0, 100)
        match chance.randrange(3):
            case 0:
                account = account.spend(chance.choice(BADPUT), account.until + more)
            case 1:
                begin = chance.randrange(10)
                worked = account.work(more, begin, begin + chance.randrange(1, 10))
                account = Account(worked.begin, worked.until + more, worked.seconds, worked.pending)
            case _:
                account = account.resolve(chance.randrange(20))
        assert whole(account) == pytest.approx(account.wall)
        assert all(account.seconds.get(name, 0.0) >= seconds for name, seconds in before.items())
        before |= account.seconds


def test_it_is_kept_whole() -> None:
    account = Account(1.5, 9.25, {"queue": 2.0, PRODUCTIVE: 3.0}, Pending(2.75, 4, 7), "train", is_closed=True)
    assert Account.decode(account.encode()) == account


@pytest.mark.parametrize("data", [b"", b"[]", b'{"begin": 1}', b'{"begin": 1, "until": -1, "seconds": {}}'])
def test_what_is_no_account_is_refused(data: bytes) -> None:
    with pytest.raises(ValueError, match="validation error"):
        Account.decode(data)


def test_the_newest_of_each_job_is_found() -> None:
    storage = MemoryStorage()
    for begin, launched in ((1000.0, 1010.0), (1000.0, 1050.0), (2000.0, 2001.0)):
        storage.put(key_of(begin, launched), Account(begin, launched).encode())
    storage.put("state/time/readme.txt", b"not ours")
    assert [it.until for it in accounts(storage)] == [1050, 2001]
    assert [newest(storage, begin=it) for it in (1000.0, 3000.0)] == [Account(1000, 1050), None]
    assert newest(storage) == Account(2000, 2001)


def test_a_launcher_that_was_killed_lived_until_its_gang_wrote_last() -> None:
    storage = MemoryStorage()
    storage.put("metrics/a0001-e0001/000001.jsonl", b"")
    (stat,) = storage.list("metrics/")
    died = stat.modified.timestamp()
    killed = Account(died - 50, died - 10, {"start": 40.0}, doing="train")
    found = until_death(storage, killed)
    assert (found.until, found.is_closed) == (died, True)
    assert found.seconds == pytest.approx({"start": 40, "lost_work": 10})
    closed = Account(died - 50, died - 10, {"start": 40.0}, doing="train", is_closed=True)
    assert until_death(storage, closed) == closed


def test_people_are_told_the_most_first_and_the_cost() -> None:
    account = Account(0, 100, {PRODUCTIVE: 60.0, "queue": 10.0, "lost_work": 20.0, "hang": 0.1}, Pending(9.9, 1, 5))
    spent = Spent(total([account]), gpus=8)
    assert spent.lines(None) == ["goodput 66.6 % of 1m40s: lost work 20s, queue 10s; 10s in no checkpoint yet"]
    assert spent.lines(4.5)[1] == "cost 1.00, of which 0.30 badput (8 GPUs)"
    assert spent.numbers(4.5)["cost"] == pytest.approx({"total": 1.0, "badput": 0.301})
    assert Spent(total([]), 0).lines(None) == ["goodput unknown of 0s"]


def test_gpus_of_any_make_count() -> None:
    assert count_gpus({"cpu": 8, "nvidia.com/gpu": 4, "memory": "1Gi"}) == 4
    assert count_gpus({"amd.com/gpu": "2", "gpu-memory": 3}) == 2
