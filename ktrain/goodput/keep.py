"""Accounts in the run's storage: one object for each launcher of node 0, which carries on what the one before it had."""

from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime

from ktrain.errors import NotFound
from ktrain.goodput.account import Account
from ktrain.names import DIR_METRICS, DIR_STATE, DIR_TIME
from ktrain.storage import Storage


def key_of(begin: float, launched: float) -> str:
    """Of the launcher that began at `launched`, of the job that was submitted at `begin`: the newest sorts last."""
    return f"{_of_job(begin)}-{_milliseconds(launched)}.json"


def accounts(run: Storage) -> list[Account]:
    """The newest of each job that has worked on this run, as it stood when its launcher was last heard of. StorageError."""
    return [it for key in _last_keys(run).values() if (it := _read(run, key))]


def newest(run: Storage, begin: float | None = None) -> Account | None:
    """Of the job that was submitted then, else of the last one. StorageError."""
    last = _last_keys(run)
    keys = list(last.values()) if begin is None else [last[it] for it in (_of_job(begin),) if it in last]
    return next((it for key in reversed(keys) if (it := _read(run, key))), None)


def until_death(run: Storage, account: Account) -> Account:
    """What its launcher could not write any more: it lived as long as something of its gang was written. StorageError."""
    if account.is_closed:
        return account
    died = max(_signs(run, account.until), default=account.until)
    doing = "lost_work" if account.doing == "train" else account.doing  # a commit would have been written down
    return replace(account.spend(doing, died), is_closed=True)


def _last_keys(run: Storage) -> dict[str, str]:
    """By job, the first one first."""
    return {key.rpartition("-")[0]: key for key in sorted(stat.key for stat in run.list(f"{DIR_TIME}/"))}


def _of_job(begin: float) -> str:
    return f"{DIR_TIME}/{_milliseconds(begin)}"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:014.0f}"


def _signs(run: Storage, since: float) -> Iterable[float]:
    times: Sequence[datetime] = [
        stat.modified for folder in (DIR_STATE, DIR_METRICS) for stat in run.list(f"{folder}/")
    ]
    return [it.timestamp() for it in times if it.timestamp() > since]


def _read(run: Storage, key: str) -> Account | None:
    with suppress(NotFound, ValueError):  # swept, or not of ours
        return Account.decode(run.get(key)[0])
    return None
