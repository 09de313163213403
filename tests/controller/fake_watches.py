"""The watches of a fake API server: what goes out on each, and every way to spoil it."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Final, Literal

from tests.controller.fake_http import Out, Request, status
from tests.controller.fake_objects import TABLES, Objects, RefusedError, encoded

End = Literal["", "clean", "abrupt"]
DEFAULT_SECONDS: Final = 1800.0


@dataclass(slots=True)
class Faults:
    """Each is off; set them at any time."""

    refusals: list[tuple[int, str | None]] = field(default_factory=list)  # status and Retry-After of the next answers
    forbidden: set[tuple[str, str]] = field(default_factory=set)  # methods and kinds that nobody may
    is_mute: bool = False  # half-open: takes requests and says nothing, on open watches too; see FakeApi.speak
    list_seconds: float = 0.0  # how long a page takes
    bodies: list[bytes] = field(default_factory=list)  # what the next pages are instead, as of a broken proxy
    lose: int = 0  # events that the next lines of watches leave out
    truncate: End = ""  # a watch's next line ends in its middle, and then the watch ends so
    scramble: Random | None = None  # what goes out together is shuffled, and some of it comes twice
    is_holding: bool = False  # events wait; see FakeApi.together
    expires_by_status: bool = False  # a forgotten version is an answer 410, not an event in the stream
    expire: int = 0  # how many of the next watches are told so, whatever they ask for


@dataclass(slots=True, eq=False)
class Watch:
    """One that is open."""

    plural: str
    namespace: str
    selector: dict[str, str]
    version: int
    until: float
    has_bookmarks: bool
    backlog: list[bytes] = field(default_factory=list)  # events that history has forgotten since
    orders: list[bytes] = field(default_factory=list)  # lines that a test wants
    bookmarks: int = 0  # how many are due
    end: End = ""
    is_lost: bool = False  # half-open: nothing goes out on it any more, not even its end


class Watches:
    """All that are open."""

    def __init__(self, objects: Objects, faults: Faults, now: Callable[[], float] = time.monotonic) -> None:
        self._objects, self._faults, self._now = objects, faults, now
        self._changed = objects.changed
        self._open: set[Watch] = set()

    def count(self, plural: str) -> int:
        """Of one kind, or of all."""
        with self._changed:
            return sum(plural in {"", it.plural} and not it.end and not it.is_lost for it in self._open)

    def order(self, give: Callable[[Watch], object]) -> None:
        """Does something to all of them that are not lost, now."""
        with self._changed:
            for watch in self._open:
                if not watch.is_lost:
                    give(watch)
            self._changed.notify_all()

    def lose(self, plural: str) -> None:
        """Those of one kind become half-open, for ever."""
        self.order(lambda watch: setattr(watch, "is_lost", watch.plural == plural))

    def find(self) -> None:
        """Those that were lost can be ended again."""
        with self._changed:
            for watch in self._open:
                watch.is_lost = False

    def forget(self) -> None:
        """Compaction, which what is under way survives."""
        with self._changed:
            for watch in self._open:
                watch.backlog = self._all_events(watch)  # of one that came too late, the error
            self._objects.forget()

    def wait_for_speech(self) -> None:
        """While the server is mute."""
        with self._changed:
            self._changed.wait_for(lambda: not self._faults.is_mute)

    @contextmanager
    def together(self) -> Iterator[None]:
        """What happens inside goes out at once."""
        self._faults.is_holding = True
        yield
        with self._changed:
            self._faults.is_holding = False
            self._changed.notify_all()

    def serve(self, request: Request, out: Out, plural: str, namespace: str) -> bool:
        """Until it ends; says whether the connection is still of use."""
        watch = self.begin(request, plural, namespace)
        try:
            out.begin()
            while not watch.end:
                out.part(b"".join(self.next(watch)))
            if watch.end == "clean":
                out.end()
            return watch.end == "clean"
        finally:
            self.leave(watch)

    def begin(self, request: Request, plural: str, namespace: str) -> Watch:
        """RefusedError when what it asks for has expired, if that is told by a status."""
        seconds = float(request.query.get("timeoutSeconds", DEFAULT_SECONDS))
        with self._changed:
            since = int(request.query.get("resourceVersion") or self._objects.version)
            has_bookmarks = request.query.get("allowWatchBookmarks") == "true"
            watch = Watch(plural, namespace, request.selector, since, self._now() + seconds, has_bookmarks)
            try:
                self._refuse_some()
                watch.backlog = self._events(watch)
            except RefusedError as error:
                if self._faults.expires_by_status:
                    raise
                watch.orders = [error_line(error.code, str(error))]
            self._open.add(watch)
        return watch

    def _refuse_some(self) -> None:
        if self._faults.expire:
            self._faults.expire -= 1
            raise RefusedError(410, "Expired", "the test says so")

    def leave(self, watch: Watch) -> None:
        """Nobody listens any more."""
        with self._changed:
            self._open.discard(watch)

    def next(self, watch: Watch) -> list[bytes]:
        """Waits for what comes next; nothing when it has to be called again."""
        lines = self._next(watch)
        if self._faults.truncate and lines:
            watch.end, self._faults.truncate = self._faults.truncate, ""
            lines[-1] = lines[-1][: len(lines[-1]) // 2]
        return lines

    def _next(self, watch: Watch) -> list[bytes]:
        with self._changed:
            self._changed.wait_for(lambda: watch.end or not self._is_silent(watch))
            self._changed.wait_for(lambda: self._is_due(watch), watch.until - self._now())
            if watch.end or self._is_silent(watch):
                return []
            lines = self._mangled(self._all_events(watch))
            if self._now() >= watch.until:
                watch.bookmarks, watch.end = 1, "clean"  # as the real one: the next watch goes on from there
            return lines + self._others(watch)

    def _is_silent(self, watch: Watch) -> bool:
        return watch.is_lost or self._faults.is_mute

    def _is_due(self, watch: Watch) -> bool:
        if watch.end:
            return True
        if self._is_silent(watch) or self._faults.is_holding:
            return False
        is_behind = self._objects.newest(watch.plural) > watch.version
        return is_behind or bool(watch.backlog or watch.orders or watch.bookmarks)

    def _all_events(self, watch: Watch) -> list[bytes]:
        lines, watch.backlog = watch.backlog, []
        try:
            return lines + self._events(watch)
        except RefusedError as error:  # it was too slow
            watch.orders = [error_line(error.code, str(error))]
            return lines

    def _events(self, watch: Watch) -> list[bytes]:
        happened = self._objects.since(watch.plural, watch.version)
        watch.version = self._objects.version
        lines = [line for it in happened if (line := it.line(watch.namespace, watch.selector))]
        lost = min(self._faults.lose, len(lines))
        self._faults.lose -= lost
        return lines[lost:]

    def _mangled(self, lines: list[bytes]) -> list[bytes]:
        chance = self._faults.scramble
        if not chance or not lines or self._faults.truncate:
            return lines
        twice = lines + chance.choices(lines, k=len(lines))
        chance.shuffle(twice)
        return twice

    def _others(self, watch: Watch) -> list[bytes]:
        kind = encoded({"kind": TABLES[watch.plural].kind, "metadata": {"resourceVersion": str(watch.version)}})
        lines = watch.orders or [b'{"type":"BOOKMARK","object":%s}\n' % kind] * (
            watch.bookmarks if watch.has_bookmarks else 0
        )
        if any(line.startswith(b'{"type":"ERROR"') for line in watch.orders):
            watch.end = "clean"
        watch.orders, watch.bookmarks = [], 0
        return lines


def error_line(code: int, message: str) -> bytes:
    """The event after which a watch ends."""
    return b'{"type":"ERROR","object":%s}\n' % status(code, "", message)
