"""The same over a real S3 server: each request of each rank meets each fault of the network once."""

import itertools
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Final

import pytest

from ktrain.storage import Storage, scoped
from ktrain.storage.retry import Retry
from ktrain.storage.s3 import S3Storage
from tests.checkpoint.gangs import ORPHAN, Gang, begin_run, check_next_epoch, check_no_orphans
from tests.checkpoint.scripted import Life
from tests.faultproxy import (
    Fault,
    Rule,
    RunningProxy,
    Seen,
    black_hole,
    conflict,
    error_after_body,
    fault_proxy,
    half_close,
    lost_reply,
    reset,
    slow_down,
    stop,
)
from tests.seaweed import BUCKET, Seaweed

pytestmark = pytest.mark.usefixtures("quiet_deaths")
RANKS: Final = 2
SHARES: Final = 4  # of the work, between processes
_runs = itertools.count()

# After these the same request succeeds when it is sent again: nobody but the client may notice.
PASSING: Final = {
    "slow down": slow_down(),
    "slow down after the body": slow_down("body"),
    "error after the body": error_after_body(),
    "error though applied": error_after_body("reply"),
    "slow down though applied": slow_down("reply"),
    "lost reply": lost_reply(),
    "half close": half_close(),
    "reset": reset(),
    "reset in the body": reset("body", after_bytes=1),
    "reset in the reply": reset("reply", after_bytes=1),
    "half close in the reply": half_close(after_bytes=1),
    "black hole": black_hole(0.02),
    "black hole though applied": black_hole(0.02, "reply"),
}
RACES: Final = {"race": conflict(), "race though applied": conflict("reply")}  # conditional writes alone meet these
KILLS: Final = {"killed before": stop(), "killed after": stop("reply")}
FAULTS: Final = PASSING | RACES | KILLS


@dataclass(frozen=True, slots=True)
class Request:
    """One request, named so that it is found again in the next run whatever the order of threads."""

    rank: int
    method: str
    role: str
    nth: int
    is_conditional: bool

    def rule(self, fault: Fault) -> Rule:
        """The fault for this request alone."""
        return Rule(fault, self.method, self.role, skip=self.nth)


@dataclass(frozen=True, slots=True)
class Links:
    """Each rank's own way to the server, one without faults, and the lives that end when a way is cut."""

    proxies: tuple[RunningProxy, ...]
    opened: tuple[Storage, ...]
    direct: Storage
    lives: list[Life]

    def storages(self, prefix: str) -> list[Storage]:
        """As the ranks open them."""
        return [scoped(storage, prefix) for storage in self.opened]

    def plain(self, prefix: str) -> Storage:
        """Without faults."""
        return scoped(self.direct, prefix)


def _retry(lives: list[Life], rank: int) -> Retry:
    """A dead rank tries nothing again."""
    return Retry(deadline_seconds=20, base_seconds=0.001, cap_seconds=0.01, sleep=lambda _: lives[rank].check())


@pytest.fixture(scope="module")
def links(weed: Seaweed) -> Iterator[Links]:
    lives: list[Life] = [Life() for _ in range(RANKS)]

    def kill_all() -> None:
        for life in lives:
            life.end()

    with ExitStack() as stack:
        proxies = [stack.enter_context(fault_proxy(weed.address, on_stop=kill_all)) for _ in range(RANKS)]
        opened = [
            S3Storage(BUCKET, endpoint=proxy.endpoint, retry=_retry(lives, rank)) for rank, proxy in enumerate(proxies)
        ]
        assert all(storage.is_fenced for storage in opened)  # found out once, not in a save
        yield Links(tuple(proxies), tuple(opened), S3Storage(BUCKET, endpoint=weed.endpoint), lives)


def live(links: Links, prefix: str, *rules: tuple[int, Rule]) -> tuple[int, bool]:
    """A gang that claims, restores and saves; the newest step that was promised, and whether all went well."""
    links.lives[:] = [Life() for _ in range(RANKS)]
    for rank, proxy in enumerate(links.proxies):
        proxy.obey(*(rule for of, rule in rules if of == rank))
    gang = Gang(links.storages(prefix), lives=links.lives)
    try:
        if not gang.claim().is_ok:
            return 0, False
        found = gang.restore()
        if not all(it.is_ok for it in found):
            return 0, False
        said = gang.save(found[0].value.step + 1)
    finally:
        gang.close()
    return max((it.value.step for it in said if it.is_ok), default=0), all(it.is_ok for it in said)


@pytest.fixture(scope="module")
def recorded(links: Links) -> tuple[Request, ...]:
    """Every request of each rank, where nothing happens."""
    prefix = f"every-{next(_runs)}"
    begin_run(links.plain(prefix), RANKS)
    assert live(links, prefix) == (2, True)
    return tuple(it for rank, proxy in enumerate(links.proxies) for it in _named(rank, proxy.log))


def _named(rank: int, log: tuple[Seen, ...]) -> Iterator[Request]:
    counts: Counter[tuple[str, str]] = Counter()
    for seen in log:
        is_conditional = seen.method == "PUT" and seen.role in {"data", "manifest", "head"}
        yield Request(rank, seen.method, seen.role, counts[seen.method, seen.role], is_conditional)
        counts[seen.method, seen.role] += 1


def cases(recorded: tuple[Request, ...]) -> list[tuple[Request, str]]:
    """Each request with each fault that it can meet."""
    return [(it, name) for it in recorded for name in FAULTS if it.is_conditional or name not in RACES]


def strike(links: Links, prefix: str, request: Request, name: str) -> None:
    """One case in a run that has begun, and all that must hold after it."""
    plain = links.plain(prefix)
    plain.put(ORPHAN, b"half a save")
    acknowledged, is_well = live(links, prefix, (request.rank, request.rule(FAULTS[name])))
    met = [seen for seen in links.proxies[request.rank].log if seen.fault]
    assert len(met) == 1, "the request did not come"
    assert (met[0].method, met[0].role) == (request.method, request.role)
    assert is_well or name in KILLS, "a fault that passes was not passed over"
    check_next_epoch([plain], plain, acknowledged=acknowledged)
    check_no_orphans(plain)


def strike_all(links: Links, chosen: list[tuple[Request, str]]) -> None:
    """Case after case in one run: each begins with what the one before has left."""
    prefix = f"every-{next(_runs)}"
    begin_run(links.plain(prefix), RANKS)
    for request, name in chosen:
        try:
            strike(links, prefix, request, name)
        except AssertionError as error:
            raise AssertionError(f"{name} at {request}: {error}") from error


def test_every_request_has_a_role(recorded: tuple[Request, ...]) -> None:
    assert {(it.rank, it.method, it.role) for it in recorded} == {
        (0, "GET", "head"), (0, "PUT", "head"), (0, "HEAD", "manifest"), (0, "GET", "manifest"), (0, "GET", "data"), (0, "PUT", "data"),
        (0, "PUT", "manifest"), (0, "GET", "list"), (0, "POST", "delete"),
        (1, "HEAD", "manifest"), (1, "GET", "manifest"), (1, "GET", "data"), (1, "PUT", "data"),
    }  # fmt: skip


def test_a_sample_of_requests_and_faults(links: Links, recorded: tuple[Request, ...]) -> None:
    strike_all(links, cases(recorded)[::37])


@pytest.mark.slow
@pytest.mark.parametrize("share", range(SHARES))
def test_each_request_meets_faults_of_each_kind(links: Links, recorded: tuple[Request, ...], share: int) -> None:
    """A third of the product, one of each neighbouring three; the whole of it is in test_every_request, in memory."""
    chosen = [case for number, case in enumerate(cases(recorded)) if number % 3 == 0]
    assert {request for request, _ in chosen} == set(recorded)
    assert {name for _, name in chosen} == set(FAULTS)
    strike_all(links, chosen[share::SHARES])


def test_a_storm_of_refusals_is_passed_over(links: Links) -> None:
    """Of each role the first two requests of each rank are refused or their replies lost."""
    prefix = f"every-{next(_runs)}"
    plain = links.plain(prefix)
    begin_run(plain, RANKS)
    storm = [
        (rank, Rule(fault, role=role))
        for rank in range(RANKS)
        for role in ("head", "data", "manifest", "list", "delete")
        for fault in (slow_down(), lost_reply())
    ]
    assert live(links, prefix, *storm) == (2, True)
    check_next_epoch([plain] * RANKS, plain, acknowledged=2)
