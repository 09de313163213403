"""How a store is kept in step with the API server: list, watch, and what follows when either breaks off."""

import math
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass, field
from random import Random
from typing import Final, Generic, Literal, TypeVar

from ktrain.cluster import Cluster, Kind
from ktrain.errors import BusyError, ClusterError, ExpiredError
from ktrain_controller.project import Event, Page, Projection
from ktrain_controller.store import Item, Store

Reason = Literal["expired", "token", "garbage", "odd", "resync"]
REASONS: Final[tuple[Reason, ...]] = ("expired", "token", "garbage", "odd", "resync")
T = TypeVar("T", bound=Item)


class _GarbageError(ClusterError):
    """No JSON, or not of the API."""


@dataclass(frozen=True, slots=True)
class Rhythm:
    """How patient a reflector is, in seconds."""

    first: float = 0.5  # between two tries; doubled each time, up to `last`
    last: float = 30.0
    watch: float = 300.0  # then the server ends a watch, and the next one continues it
    silence: float = 70.0
    resync: float = 600.0  # a full list even when all is well: API servers have lost events
    odd: float = 60.0  # a full list after an event that could not be read: it may have been a deletion
    short: float = 1.0  # a watch that ends sooner has failed


@dataclass(slots=True, kw_only=True, eq=False)
class Reflector(Generic[T]):
    """Keeps one store in step with one kind, in a thread of its own."""

    cluster: Cluster  # of retries=0: two rhythms of trying again would multiply
    kind: Kind
    projection: Projection[T]
    store: Store[T]
    namespace: str = ""
    labels: str = ""
    rhythm: Rhythm = Rhythm()
    chance: Random = field(default_factory=Random)
    pause: Callable[[float], bool] | None = None  # waits, and says whether to stop; else the event of `run` does
    now: Callable[[], float] = time.monotonic
    on_trouble: Callable[[str], object] | None = None

    is_synced: bool = field(default=False, init=False)
    last_event_at: float | None = field(default=None, init=False)  # on the clock of `now`
    relists: dict[Reason, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0), init=False)
    _heard_at: float = field(default=-math.inf, init=False)
    _version: str = field(default="", init=False)
    _must_list: bool = field(default=True, init=False)
    _due: float = field(default=math.inf, init=False)
    _due_for: Reason = field(default="resync", init=False)
    _delay: float = field(default=0, init=False)

    @property
    def age(self) -> float:
        """Seconds since anything was heard of the server, bookmarks included; infinite before the first word."""
        return self.now() - self._heard_at

    def run(self, stop: threading.Event) -> None:
        """Until `stop` is set, which a watch notices with its next line: let the thread be a daemon."""
        pause = self.pause or stop.wait
        while not stop.is_set():
            seconds = self._turn(stop)
            if seconds > 0 and pause(seconds):
                return

    def _turn(self, stop: threading.Event) -> float:
        """One list, or one watch; says how long to rest after it."""
        try:
            if self.now() >= self._due and not self._must_list:
                self._relist(self._due_for)
            return self._list(stop) if self._must_list else self._watch(stop)
        except ExpiredError as error:
            self._relist("token" if self._must_list else "expired")
            return self._rest(error)
        except _GarbageError as error:  # what it should have said is not known
            self._relist("garbage")
            return self._rest(error)
        except ClusterError as error:
            return self._rest(error)

    def _list(self, stop: threading.Event) -> float:
        """Page by page; the store keeps what it has until the last one is here."""
        items: list[T] = []
        version = token = ""
        while not stop.is_set():
            page = self._page(token)
            self._heard_at = self.now()
            items += page.items
            version, token = version or page.version, page.token
            if not token:
                self._listed(items, version)
                break
        return 0

    def _listed(self, items: list[T], version: str) -> None:
        self.store.replace(items)
        self._version, self._must_list, self.is_synced = version, False, True
        # With jitter: the lists of many kinds, and of many controllers, must not come together for ever.
        self._due, self._due_for = self.now() + self.rhythm.resync * self.chance.uniform(0.9, 1.1), "resync"

    def _watch(self, stop: threading.Event) -> float:
        opened = self.now()
        try:
            with closing(self._lines(self._due - opened)) as lines:
                for line in lines:
                    self._take(line)
                    if stop.is_set() or self.now() >= self._due:
                        return 0
        finally:
            if is_long := self.now() - opened >= self.rhythm.short:
                self._delay = 0
        # A server, or a proxy, that ends each watch at once would be asked without end.
        return 0 if is_long else self._backoff()

    def _lines(self, seconds: float) -> Generator[bytes, None, None]:
        return self.cluster.watch(
            self.kind, self.namespace, labels=self.labels, version=self._version,
            seconds=min(self.rhythm.watch, seconds), silence=self.rhythm.silence,
        )  # fmt: skip

    def _page(self, token: str) -> Page[T]:
        data = self.cluster.page(self.kind, self.namespace, labels=self.labels, token=token)
        try:
            page = self.projection.page(data)
        except ValueError as error:
            raise _GarbageError(f"a list of the cluster cannot be read: {error}") from error
        if not page.version:  # believed, an empty answer of a broken proxy would delete everything
            raise _GarbageError("a list of the cluster has no resourceVersion")
        return page

    def _take(self, line: bytes) -> None:
        try:
            event = self.projection.event(line)
        except ValueError as error:
            raise _GarbageError(f"an event of the cluster cannot be read: {error}") from error
        self._heard_at = self.now()
        if event.type == "ERROR":
            kind = ExpiredError if event.code == 410 else ClusterError
            raise kind(f"the cluster ended a watch with {event.code}: {event.message}")
        self._delay = 0
        if event.type != "BOOKMARK":
            self.last_event_at = self._heard_at
            self._know(event)
        self._version = _newest(self._version, event.version)

    def _know(self, event: Event[T]) -> None:
        if event.item is not None:
            self.store.apply(event)
            return
        # An object that cannot be read has no key here: only a list can say what became of it.
        soon = self.now() + self.rhythm.odd
        if soon < self._due:
            self._due, self._due_for = soon, "odd"

    def _relist(self, reason: Reason) -> None:
        self.relists[reason] += 1
        self._must_list = True

    def _rest(self, error: ClusterError) -> float:
        if self.on_trouble:
            self.on_trouble(f"{self.kind.plural}: {error}")
        return max(error.after, self.rhythm.first) if isinstance(error, BusyError) else self._backoff()

    def _backoff(self) -> float:
        self._delay = min(self._delay * 2 or self.rhythm.first, self.rhythm.last)
        return self._delay * self.chance.uniform(0.5, 1.0)


def _newest(version: str, other: str) -> str:
    """A server that repeats itself, or is out of order, must not take us back."""
    if version.isdecimal() and other.isdecimal():
        return max(version, other, key=int)
    return other
