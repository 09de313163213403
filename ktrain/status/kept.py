"""What a job left in storage: how far it came, and what its launchers said last. Outlives its pods."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from ktrain import goodput
from ktrain.cluster import Cluster
from ktrain.errors import ClusterError, StorageError
from ktrain.goodput import Account
from ktrain.history import Head, Token, read_head
from ktrain.jobs.find import submitted
from ktrain.jobs.reach import run_storage
from ktrain.names import DIR_STATE
from ktrain.storage import Storage

Object = dict[str, Any]
_VERDICT: Final = "verdict-"


@dataclass(frozen=True, slots=True)
class Kept:
    """Of one run. blind says why nothing could be read."""

    url: str = ""
    head: Head | None = None
    verdicts: tuple[Object, ...] = ()  # of the newest epoch that has any, by node
    account: Account | None = None  # where the time of this job went
    blind: str = ""

    @property
    def first_failure(self) -> Object | None:
        """The verdict that says most: a failing rank before a launcher that only lost its peers."""
        failed = [it for it in self.verdicts if it.get("code")]
        return min(
            failed, key=lambda it: (it.get("cause") in {"peer", "membership", "preempted"}, it["node"]), default=None
        )

    @property
    def logs(self) -> Mapping[int, list[str]]:
        """The last lines of each rank."""
        return {int(rank): lines for it in self.verdicts for rank, lines in sorted(it.get("logs", {}).items())}


NOTHING: Final = Kept()


@dataclass(slots=True)
class _Newest:
    token: Token = field(default_factory=lambda: Token(0, 0))
    keys: list[tuple[int, str]] = field(default_factory=list)


def read_kept(cluster: Cluster, job: Object) -> Kept:
    """Never raises: a storage that cannot be reached from here is told in `blind`."""
    try:
        return of_run(run_storage(cluster, job), submitted=submitted(job))
    except (ClusterError, StorageError) as error:
        return Kept(blind=str(error))


def of_run(storage: Storage, *, submitted: float | None = None) -> Kept:
    """From the run's storage; submitted: of the job whose time is asked for. StorageError."""
    newest = _Newest()
    for stat in storage.list(f"{DIR_STATE}/{_VERDICT}"):
        _consider(newest, stat.key)
    verdicts = [json.loads(storage.get(key)[0]) | {"node": node} for node, key in sorted(newest.keys)]
    account = goodput.newest(storage, submitted) if submitted is not None else None
    account = goodput.until_death(storage, account) if account else None
    return Kept(storage.url, read_head(storage), tuple(verdicts), account)


def _consider(newest: _Newest, key: str) -> None:
    """`state/verdict-a0001-e0002-node0.json`."""
    prefix, _, node = key.removeprefix(f"{DIR_STATE}/{_VERDICT}").removesuffix(".json").rpartition("-node")
    try:
        token, number = Token.parse(prefix), int(node)
    except ValueError:  # not one of ours
        return
    if token > newest.token:
        newest.token, newest.keys = token, []
    if token == newest.token:
        newest.keys.append((number, key))
