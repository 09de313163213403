"""Storage that is away, slow or refuses for a while: training goes on, all ranks hear the same, and the next save works."""

import itertools
import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Final, TypeVar

import pytest

from ktrain.errors import CheckpointError, FencedError, StorageError
from ktrain.storage import Storage, scoped
from ktrain.storage.memory import MemoryStorage
from ktrain.storage.retry import Retry
from ktrain.storage.s3 import S3Storage
from ktrain_trainer.checkpoint import Options
from tests.checkpoint.gangs import OPTIONS, Gang, Said, begin_run, check_next_epoch, check_whole
from tests.checkpoint.scripted import Call, ScriptedStorage
from tests.faultproxy import Rule, RunningProxy, expired_token, fault_proxy, lost_reply, reset, slow_down
from tests.seaweed import BUCKET, Seaweed
from tests.storage import s3server

pytestmark = pytest.mark.usefixtures("quiet_deaths")
T = TypeVar("T")
RANKS: Final = 2
OUTAGE_SECONDS: Final = 60.0
SHORT: Final = Options(object_bytes=256, block_bytes=64, deadline_seconds=0.5)
_SECONDS: Final = 60
_prefixes = itertools.count()


@dataclass
class VirtualTime:
    """A clock that only pauses between tries move; at `until` it does something once."""

    until: float = float("inf")
    then: Callable[[], None] = lambda: None
    seconds: float = 0.0
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.seconds += seconds
            if self.seconds < self.until:
                return
            self.until = float("inf")
        self.then()

    def retry(self, deadline_seconds: float = 120) -> Retry:
        return Retry(deadline_seconds, sleep=self.sleep, now=self.now, jitter=lambda: 1.0)


class Gate:
    """The script of a storage that does not answer writes until it is opened."""

    def __init__(self, role: str = "data") -> None:
        self._role = role
        self.is_open = threading.Event()
        self.was_reached = threading.Event()

    def __call__(self, call: Call, act: Callable[[], T]) -> T:
        if call.role == self._role and call.is_write:
            self.was_reached.set()
            assert self.is_open.wait(_SECONDS)
        return act()


@pytest.fixture(scope="module")
def proxies(weed: Seaweed) -> Iterator[list[RunningProxy]]:
    with ExitStack() as stack:
        made = [stack.enter_context(fault_proxy(weed.address)) for _ in range(RANKS)]
        assert all(S3Storage(BUCKET, endpoint=proxy.endpoint).is_fenced for proxy in made)
        yield made


@pytest.fixture
def plain(weed: Seaweed) -> Storage:
    """A run with a commit of step 1."""
    storage = scoped(S3Storage(BUCKET, endpoint=weed.endpoint), f"outage-{next(_prefixes)}")
    begin_run(storage, RANKS)
    return storage


def gang_on(proxies: list[RunningProxy], plain: Storage, time: VirtualTime, deadline_seconds: float = 120) -> Gang:
    """A new epoch, each rank behind its own proxy."""
    prefix = plain.url.rpartition("/")[2]
    for proxy in proxies:
        proxy.obey()
    gang = Gang([S3Storage(BUCKET, prefix, endpoint=it.endpoint, retry=time.retry(deadline_seconds)) for it in proxies])
    assert gang.claim().is_ok
    assert all(it.is_ok for it in gang.restore())
    return gang


def check_all_failed(said: list[Said], sentence: str) -> None:
    assert not any(it.is_ok for it in said), said
    assert all(it.error is not None and sentence in str(it.error) for it in said), said


def newest_step(plain: Storage) -> int:
    head = check_whole(plain)
    assert head
    assert head.newest
    return head.newest.step


def down(*proxies: RunningProxy) -> None:
    for proxy in proxies:
        proxy.obey(Rule(reset(), times=None))


def up(*proxies: RunningProxy) -> None:
    for proxy in proxies:
        proxy.obey()


@pytest.mark.parametrize("who", [(0,), (1,), (0, 1)], ids=["rank 0", "rank 1", "all"])
def test_an_outage_of_a_minute_is_waited_out(proxies: list[RunningProxy], plain: Storage, who: tuple[int, ...]) -> None:
    time = VirtualTime()
    gang = gang_on(proxies, plain, time)
    time.until = time.seconds + OUTAGE_SECONDS
    time.then = lambda: up(*(proxies[rank] for rank in who))
    down(*(proxies[rank] for rank in who))
    said = gang.save(2)
    gang.close()
    assert all(it.is_ok for it in said), said
    assert time.seconds >= OUTAGE_SECONDS
    check_next_epoch([plain], plain, acknowledged=2)


@pytest.mark.parametrize("who", [0, 1])
def test_an_outage_that_is_too_long_fails_the_save_on_all_ranks_and_not_the_next(
    proxies: list[RunningProxy], plain: Storage, who: int
) -> None:
    gang = gang_on(proxies, plain, VirtualTime(), deadline_seconds=OUTAGE_SECONDS / 2)
    down(proxies[who])
    check_all_failed(gang.save(2), "cannot be reached")
    assert newest_step(plain) == 1
    proxies[who].obey()
    assert all(it.is_ok for it in gang.save(3))
    gang.close()
    check_next_epoch([plain], plain, acknowledged=3)


def test_one_refusal_in_twenty_is_not_noticed(proxies: list[RunningProxy], plain: Storage) -> None:
    gang = gang_on(proxies, plain, VirtualTime())
    for proxy in proxies:
        proxy.obey(Rule(slow_down(), times=None, every=20))
    said = [it for step in range(2, 10) for it in gang.save(step)]
    gang.close()
    assert all(it.is_ok for it in said), said
    refused = [seen for proxy in proxies for seen in proxy.log if seen.fault]
    assert len(refused) > 3
    assert all(seen.status == 503 for seen in refused)
    check_next_epoch([plain], plain, acknowledged=9)


def test_credentials_that_expire_in_a_save_fail_it_on_all_ranks_and_the_next_has_new_ones(
    proxies: list[RunningProxy], plain: Storage
) -> None:
    gang = gang_on(proxies, plain, VirtualTime())
    proxies[1].obey(Rule(expired_token(), method="PUT", role="data"))
    check_all_failed(gang.save(2), "the credentials have expired; renew them")
    assert all(it.is_ok for it in gang.save(3))
    gang.close()
    check_next_epoch([plain], plain, acknowledged=3)


def gated(role: str, options: Options, who: int) -> tuple[MemoryStorage, Gang, Gate]:
    """Two ranks in memory, one of them behind a gate."""
    storage, gate = MemoryStorage(), Gate(role)
    begin_run(storage, RANKS)
    storages: list[Storage] = [storage] * RANKS
    storages[who] = ScriptedStorage(storage, gate)
    gang = Gang(storages, options=options)
    gang.claim()
    assert all(it.is_ok for it in gang.restore())
    return storage, gang, gate


@pytest.mark.parametrize(("who", "role"), [(0, "data"), (1, "data"), (0, "manifest")])
def test_training_goes_on_while_storage_does_not_answer(who: int, role: str) -> None:
    """Save returns, the model changes, and the next save returns too: nothing of that waits for the gate."""
    storage, gang, gate = gated(role, OPTIONS, who)
    first = gang.begin_save(2)
    assert gate.was_reached.wait(_SECONDS)
    second = gang.begin_save(3)
    assert not any(it.value.done() for it in (*first, *second))
    gate.is_open.set()
    said = [gang.end_save(first), gang.end_save(second)]
    gang.close()
    assert all(it.is_ok for each in said for it in each), said
    assert [it.value.step for it in said[1]] == [3, 3]
    check_next_epoch([storage], storage, acknowledged=3)


def test_a_rank_that_is_too_slow_fails_the_save_by_name_and_not_the_next() -> None:
    storage, gang, gate = gated("data", SHORT, 1)
    begun = gang.begin_save(2)
    assert gate.was_reached.wait(_SECONDS)
    with pytest.raises(CheckpointError, match=r"rank 1.* part of the save within 0\.5 s"):
        begun[0].value.result(_SECONDS)
    gate.is_open.set()
    check_all_failed(gang.end_save(begun), "part of the save within 0.5 s")
    gang.close()
    again = Gang([storage] * RANKS)
    again.claim()
    assert all(it.is_ok for it in again.restore())
    assert all(it.is_ok for it in again.save(2))
    again.close()
    check_next_epoch([storage], storage, acknowledged=2)


@pytest.fixture(scope="module")
def careless() -> Iterator[s3server.S3Server]:
    """A server that ignores conditions."""
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("AWS_ACCESS_KEY_ID", "key")
        environment.setenv("AWS_SECRET_ACCESS_KEY", "verysecret")
        with s3server.s3_server() as server:
            server.ignores_conditions = True
            yield server


@pytest.fixture
def unfenced(careless: s3server.S3Server) -> Storage:
    careless.faults.clear()
    storage = S3Storage(
        s3server.BUCKET, f"unfenced-{next(_prefixes)}", endpoint=careless.endpoint, retry=VirtualTime().retry()
    )
    assert not storage.is_fenced
    begin_run(storage, RANKS)
    return storage


@pytest.mark.parametrize("is_applied", [False, True], ids=["refused", "reply lost"])
@pytest.mark.parametrize("skip", range(8))
def test_a_single_writer_loses_nothing_without_conditions(
    careless: s3server.S3Server, unfenced: Storage, skip: int, is_applied: bool
) -> None:
    careless.faults[:] = [s3server.Fault("PUT", skip=skip, is_applied=is_applied)]
    gang = Gang([unfenced] * RANKS)
    assert gang.claim().is_ok
    assert all(it.is_ok for it in gang.restore())
    said = [it for step in (2, 3) for it in gang.save(step)]
    gang.close()
    assert careless.faults.pop().times == 0, "the request did not come"
    assert all(it.is_ok for it in said), said
    check_next_epoch([unfenced], unfenced, acknowledged=3)


def test_a_zombie_that_comes_later_is_seen_without_conditions_too(unfenced: Storage) -> None:
    zombie = Gang([unfenced] * RANKS)
    zombie.claim()
    assert all(it.is_ok for it in zombie.restore())
    check_next_epoch([unfenced], unfenced, acknowledged=1)
    said = zombie.save(3)
    zombie.close()
    assert all(isinstance(it.error, FencedError) for it in said), said
    check_next_epoch([unfenced], unfenced, acknowledged=2)


def test_a_lost_reply_and_a_dead_server_are_told_apart(proxies: list[RunningProxy], plain: Storage) -> None:
    """The commit's own reply is lost, and then nothing answers: it may be there, nobody is promised it, and it is whole."""
    gang = gang_on(proxies, plain, VirtualTime(), deadline_seconds=5)
    proxies[0].obey(Rule(lost_reply(), method="PUT", role="head"), Rule(reset(), role="head", skip=2, times=None))
    said = gang.save(2)
    proxies[0].obey()
    gang.close()
    assert not any(it.is_ok for it in said), said
    assert all(isinstance(it.error, StorageError) for it in said)
    assert check_next_epoch([plain], plain, acknowledged=0) == 2
