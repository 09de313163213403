"""Accounts in the run's storage: one object for each launcher of node 0, which carries on what the one before it had."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from ktrain.errors import NotFound
from ktrain.goodput.account import Account
from ktrain.names import DIR_METRICS, DIR_STATE, DIR_TIME
from ktrain.storage import Storage

SAME_SECONDS = 0.001  # of the times in the keys


def key_of(begin: float, launched: float) -> str:
    """Of the launcher that began at `launched`, of the job that was submitted at `begin`: the newest sorts last."""
    return f"{DIR_TIME}/{begin * 1000:014.0f}-{launched * 1000:014.0f}.json"


def accounts(run: Storage) -> list[Account]:
    """The newest of each job that has worked on this run, as it stood when its launcher was last heard of. StorageError."""
    last: dict[str, str] = {}
    for key in sorted(stat.key for stat in run.list(f"{DIR_TIME}/")):
        last[key.rpartition("-")[0]] = key
    return [it for key in last.values() if (it := _read(run, key))]


def newest(run: Storage, begin: float | None = None) -> Account | None:
    """Of the job that was submitted then, else of the last one. StorageError."""
    found = accounts(run)
    if begin is not None:
        found = [it for it in found if abs(it.begin - begin) <= SAME_SECONDS]
    return found[-1] if found else None


def until_death(run: Storage, account: Account) -> Account:
    """What its launcher could not write any more: it lived as long as something of its gang was written. StorageError."""
    if account.is_closed:
        return account
    died = max(_signs(run, account.until), default=account.until)
    doing = "lost_work" if account.doing == "train" else account.doing  # a commit would have been written down
    return replace(account.spend(doing, died), is_closed=True)


def _signs(run: Storage, since: float) -> Iterable[float]:
    times: Sequence[datetime] = [
        stat.modified for folder in (DIR_STATE, DIR_METRICS) for stat in run.list(f"{folder}/")
    ]
    return [it.timestamp() for it in times if it.timestamp() > since]


def _read(run: Storage, key: str) -> Account | None:
    with suppress(NotFound, ValueError):  # swept, or not of ours
        return Account.decode(run.get(key)[0])
    return None
