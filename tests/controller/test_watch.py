"""The reflector: whatever happens to lists and watches, its store becomes what the server has."""

import math
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from ktrain.cluster import NODE, POD
from ktrain_controller.model import Node, Pod
from ktrain_controller.project import nodes, pods
from ktrain_controller.store import Store
from ktrain_controller.watch import Reflector, Rhythm
from tests.controller.fake_api import FakeApi
from tests.controller.fake_objects import Object

MINE = {"app.kubernetes.io/managed-by": "ktrain"}
LABELS = "app.kubernetes.io/managed-by=ktrain"
JOB = "training.kubeflow.org/job-name"


@dataclass(slots=True)
class Following:
    """A reflector at work, which rests for milliseconds and says how long it should have."""

    api: FakeApi
    reflector: Reflector[Pod]
    store: Store[Pod]
    stop: threading.Event = field(default_factory=threading.Event)
    rests: list[float] = field(default_factory=list)
    troubles: list[str] = field(default_factory=list)
    max_rests: int = 1_000

    def rest(self, seconds: float) -> bool:
        self.rests.append(seconds)
        return self.stop.wait(0.002) or len(self.rests) >= self.max_rests

    def catch_up(self) -> None:
        until(lambda: self.has_all and self.api.watching("pods") == 1)

    @property
    def has_all(self) -> bool:
        return {it.key: it.version for it in self.store.all()} == on_server(self.api)


def on_server(api: FakeApi) -> dict[str, str]:
    return {"/".join(it.key): str(it.version) for it in api.objects.all("pods", selector=MINE)}


def until(is_so: Callable[[], bool], *, meanwhile: Callable[[], object] = lambda: None) -> None:
    deadline = time.monotonic() + 5
    while not is_so():
        assert time.monotonic() < deadline, "it does not become so"
        meanwhile()
        time.sleep(0.002)


@pytest.fixture
def api() -> Iterator[FakeApi]:
    with FakeApi() as api:
        yield api


@contextmanager
def following(api: FakeApi, folder: Path, rhythm: Rhythm | None = None, max_rests: int = 1_000) -> Iterator[Following]:
    store: Store[Pod] = Store(lambda pod: pod.owner)
    rhythm = rhythm or Rhythm(silence=5)
    reflector = Reflector(
        cluster=api.connect(folder), kind=POD, projection=pods(lambda _: None), store=store, labels=LABELS,
        rhythm=rhythm, chance=Random(1),
    )  # fmt: skip
    it = Following(api, reflector, store, max_rests=max_rests)
    reflector.pause, reflector.on_trouble = it.rest, it.troubles.append
    thread = threading.Thread(target=reflector.run, args=(it.stop,), daemon=True)
    thread.start()
    try:
        yield it
    finally:
        it.stop.set()
        until(lambda: not thread.is_alive(), meanwhile=api.speak)


@pytest.fixture
def it(api: FakeApi, tmp_path: Path) -> Iterator[Following]:
    """Follows a server that has a-0."""
    api.put("pods", pod("a-0"))
    with following(api, tmp_path) as it:
        it.catch_up()
        yield it


def pod(name: str, phase: str = "Running", **meta: object) -> Object:
    labels = MINE | {JOB: name.partition("-")[0]}
    spec = {"nodeName": "n1", "containers": [{"name": "main"}]}
    return {
        "metadata": {"namespace": "ml", "name": name, "labels": labels, **meta},
        "spec": spec,
        "status": {"phase": phase},
    }


def during_a_gap(it: Following, change: Callable[[], object]) -> None:
    """Nobody watches meanwhile."""
    it.api.close()
    change()
    it.api.open()


# ---- what is there


def test_a_store_is_filled_page_by_page_and_then_follows(api: FakeApi, tmp_path: Path) -> None:
    api.load("pods", [pod(f"a-{number}") for number in range(1_100)])
    api.put("pods", {"metadata": {"namespace": "ml", "name": "somebody-elses"}})
    with following(api, tmp_path) as it:
        until(lambda: it.reflector.is_synced)
        assert 0 < it.reflector.age < 5
        assert len(it.store.of("ml/a")) == 1_100
        assert api.count("GET", is_watch=False) == 3
        until(lambda: api.watching("pods") == 1)
        api.put("pods", pod("b-0"))
        api.put("pods", pod("a-1", "Failed"))
        api.remove("pods", "ml", "a-2")
        until(lambda: it.has_all)
        assert it.store.get("ml/a-2") is None
        assert it.reflector.last_event_at is not None
        assert sum(it.reflector.relists.values()) == len(it.troubles) == 0


def test_nothing_is_known_before_the_last_page_is_here(api: FakeApi, tmp_path: Path) -> None:
    api.load("pods", [pod(f"a-{number}") for number in range(600)])
    api.faults.list_seconds = 0.3
    with following(api, tmp_path) as it:
        assert it.reflector.age == math.inf
        until(lambda: api.count("GET") == 2)
        assert (len(it.store), it.reflector.is_synced) == (0, False)
        until(lambda: it.reflector.is_synced and it.has_all)


def test_it_stops_in_the_middle_of_its_rest(api: FakeApi, tmp_path: Path) -> None:
    store: Store[Node] = Store()
    troubles: list[str] = []
    reflector = Reflector(
        cluster=api.connect(tmp_path), kind=NODE, projection=nodes(lambda _: None), store=store,
        rhythm=Rhythm(first=300, last=300), on_trouble=troubles.append,
    )  # fmt: skip
    api.refuse(1, 500)
    stop = threading.Event()
    thread = threading.Thread(target=reflector.run, args=(stop,), daemon=True)
    thread.start()
    until(lambda: len(troubles) == 1)
    stop.set()
    until(lambda: not thread.is_alive())


# ---- what expires


def test_a_410_in_the_stream_leaves_no_ghost(it: Following) -> None:
    def change() -> None:
        it.api.remove("pods", "ml", "a-0")
        it.api.put("pods", pod("b-0"))
        it.api.forget()

    gone: list[str] = []
    it.store.listen(lambda old, new: gone.append(old.key) if old and not new else None)
    during_a_gap(it, change)
    until(lambda: it.has_all)
    assert gone == ["ml/a-0"]
    assert it.store.of("ml/a") == ()
    assert it.reflector.relists["expired"] == 1


@pytest.mark.parametrize("by_status", [False, True], ids=["an event", "an answer"])
def test_an_expiry_costs_three_requests_at_most(by_status: bool, it: Following) -> None:
    def change() -> None:
        it.api.put("pods", pod("b-0"))
        it.api.forget()
        it.api.requests.clear()

    it.api.faults.expires_by_status = by_status
    during_a_gap(it, change)
    it.catch_up()
    assert (
        len([each for each in it.api.requests if it.api.port]) <= 3 + 1
    )  # one was asked in the gap, and heard nothing
    assert it.reflector.relists["expired"] == 1


def test_a_server_that_expires_everything_at_once_is_asked_ever_less(it: Following) -> None:
    it.max_rests = 12
    it.api.requests.clear()
    until(lambda: len(it.rests) >= it.max_rests, meanwhile=lambda: it.api.error(410))
    assert it.api.count() <= 3 * len(it.rests)
    assert all(0.5 <= later / nominal <= 1 for later, nominal in zip(it.rests, doubling(), strict=False))


def test_a_token_that_expires_begins_the_list_again(api: FakeApi, tmp_path: Path) -> None:
    api.load("pods", [pod(f"a-{number}") for number in range(1_100)])
    api.faults.bodies = [api.connect(tmp_path).page(POD, labels=LABELS)]
    api.remove("pods", "ml", "a-0")
    api.forget()
    with following(api, tmp_path) as it:
        it.catch_up()
        assert it.reflector.relists == {"expired": 0, "token": 1, "garbage": 0, "odd": 0, "resync": 0}
        assert len(it.rests) == 1


# ---- what breaks off


@pytest.mark.parametrize("is_clean", [True, False], ids=["ended", "broken"])
def test_a_watch_goes_on_where_it_was(is_clean: bool, it: Following) -> None:
    for number in range(5):
        it.api.drop_watches(is_clean=is_clean)
        it.api.put("pods", pod(f"b-{number}"))
        it.api.remove("pods", "ml", f"b-{number}")
        it.api.put("pods", pod(f"c-{number}"))
        it.catch_up()
    assert it.api.count("GET", is_watch=False) == 1


def test_a_deletion_while_the_server_was_away_is_noticed(it: Following) -> None:
    it.api.close()
    it.api.remove("pods", "ml", "a-0")
    it.api.forget()
    until(lambda: len(it.rests) > 3)
    it.api.open()
    until(lambda: it.has_all)
    assert len(it.store) == 0


def test_a_server_that_is_down_is_asked_ever_less_often(api: FakeApi, tmp_path: Path) -> None:
    api.close()
    with following(api, tmp_path, max_rests=12) as it:
        until(lambda: len(it.rests) == 12)
    assert all(nominal / 2 <= rest <= nominal for rest, nominal in zip(it.rests, doubling(), strict=False))
    assert len(set(it.rests)) == 12
    assert it.troubles[0].startswith("pods: the cluster of context 'fake' does not answer at http://127.0.0.1:")


def test_watches_that_end_at_once_are_not_asked_for_without_end(it: Following) -> None:
    it.max_rests = 10
    it.api.requests.clear()
    until(lambda: len(it.rests) == it.max_rests, meanwhile=it.api.drop_watches)
    assert it.api.count() <= it.max_rests
    assert it.rests[-1] >= 15


def test_a_word_from_the_server_ends_the_patience(it: Following) -> None:
    until(lambda: len(it.rests) == 5, meanwhile=it.api.drop_watches)
    until(lambda: it.api.watching("pods") == 1)
    it.api.put("pods", pod("b-0"))
    until(lambda: it.has_all)
    before = len(it.rests)
    it.api.drop_watches()
    until(lambda: len(it.rests) > before)
    assert it.rests[before] <= 0.5


def test_a_half_open_connection_is_noticed(api: FakeApi, tmp_path: Path) -> None:
    api.put("pods", pod("a-0"))
    with following(api, tmp_path, Rhythm(silence=0.15)) as it:
        it.catch_up()
        api.faults.is_mute = True
        api.remove("pods", "ml", "a-0")
        until(lambda: "Read timed out" in "".join(it.troubles))
        silent_for = it.reflector.age
        assert silent_for >= 0.15
        api.speak()
        until(lambda: it.has_all and it.reflector.age < silent_for)


def test_a_busy_server_is_left_alone_for_as_long_as_it_says(it: Following) -> None:
    it.api.refuse(3, 429, "7")
    it.api.drop_watches()
    it.api.put("pods", pod("b-0"))
    until(lambda: it.has_all)
    assert it.rests.count(7.0) == 3


def test_a_busy_server_that_says_now_is_not_asked_without_end(it: Following) -> None:
    it.api.refuse(5, 503, "0")
    it.api.drop_watches()
    it.api.put("pods", pod("b-0"))
    until(lambda: it.has_all)
    assert it.rests.count(0.5) == 5


@pytest.mark.parametrize("code", [401, 403, 404, 500])
def test_a_refusal_of_any_kind_is_waited_out(code: int, it: Following) -> None:
    it.api.refuse(4, code)
    it.api.drop_watches()
    it.api.put("pods", pod("b-0"))
    until(lambda: it.has_all)
    assert len(it.troubles) == 4
    assert it.reflector.is_synced


# ---- what is wrong


def test_half_a_line_is_not_believed(it: Following) -> None:
    it.api.faults.truncate = "clean"
    it.api.put("pods", pod("a-0", "Failed"))
    until(lambda: it.has_all)
    assert it.reflector.relists["garbage"] == 1


def test_a_line_that_breaks_off_with_its_connection_comes_again(it: Following) -> None:
    it.api.faults.truncate = "abrupt"
    it.api.put("pods", pod("a-0", "Failed"))
    until(lambda: it.has_all)
    assert sum(it.reflector.relists.values()) == 0


@pytest.mark.parametrize("line", [b"<html>\n", b"{}\n", b'{"type":"ADDED"}\n'], ids=["html", "empty", "no object"])
def test_garbage_is_followed_by_a_list(line: bytes, it: Following) -> None:
    it.api.faults.lose = 1
    it.api.put("pods", pod("b-0"))
    it.api.say(line)
    until(lambda: it.has_all)
    assert it.reflector.relists["garbage"] == 1


@pytest.mark.parametrize("answer", [b'{"metadata":{},"items":[]}', b"{}", b""], ids=["no version", "empty", "nothing"])
def test_an_empty_answer_deletes_nothing(answer: bytes, it: Following) -> None:
    sizes: list[int] = []
    it.store.listen(lambda *_: sizes.append(len(it.store)))
    it.api.faults.bodies = [answer, answer]
    it.api.error(410)
    until(lambda: it.reflector.relists["garbage"] == 2 and it.api.watching("pods") == 1)
    assert it.has_all
    assert sizes == []


def test_what_comes_twice_or_in_another_order_ends_as_the_server_has_it(it: Following) -> None:
    heard: list[int] = []
    it.store.listen(lambda _, new: heard.append(int(new.version)) if new else None)
    it.api.faults.scramble = Random(3)
    for turn in range(20):
        with it.api.together():
            it.api.put("pods", pod("a-0", "Running"))
            it.api.put("pods", pod("a-0", "Failed"))
            it.api.put("pods", pod(f"b-{turn}"))
            it.api.remove("pods", "ml", f"b-{turn}")
            it.api.remove("pods", "ml", "a-0")
            it.api.put("pods", pod("a-0"))
        until(lambda: it.has_all)
    it.api.forget()
    it.api.drop_watches()
    it.api.put("pods", pod("c-0"))
    until(lambda: it.has_all)
    assert it.api.count("GET", is_watch=False) == 1
    assert len(set(heard)) == len(heard)


def test_an_event_that_got_lost_is_mended_by_the_next_full_list(api: FakeApi, tmp_path: Path) -> None:
    api.put("pods", pod("a-0"))
    with following(api, tmp_path, Rhythm(silence=5, resync=0.4)) as it:
        it.catch_up()
        api.faults.lose = 1
        api.remove("pods", "ml", "a-0")
        api.put("pods", pod("b-0"))
        sizes: list[int] = []
        it.store.listen(lambda *_: sizes.append(len(it.store)))
        until(lambda: it.has_all)
        assert it.reflector.relists["resync"] >= 1
        assert not it.troubles
        assert min(sizes, default=1) >= 1


def test_an_object_that_cannot_be_read_any_more_is_looked_after_soon(api: FakeApi, tmp_path: Path) -> None:
    api.put("pods", pod("a-0"))
    with following(api, tmp_path, Rhythm(silence=5, odd=0.01)) as it:
        it.catch_up()
        api.put("pods", pod("a-0", annotations={"ktrain.dev/attempt": "junk"}))
        until(lambda: len(it.store) == 0, meanwhile=api.bookmark)
        assert it.reflector.relists["odd"] == 1


def test_bookmarks_move_the_version_when_nothing_happens(it: Following) -> None:
    it.api.put("pods", {"metadata": {"namespace": "ml", "name": "somebody-elses"}})
    until(lambda: it.reflector.age > 0.02)
    until(lambda: it.reflector.age < 0.02, meanwhile=it.api.bookmark)
    during_a_gap(it, it.api.forget)
    it.api.put("pods", pod("b-0"))
    until(lambda: it.has_all)
    assert it.api.count("GET", is_watch=False) == 1
    assert it.reflector.relists["expired"] == 0


# ---- all of it

NAMES = ["a-0", "a-1", "b-0"]
FAULTS: dict[str, Callable[[FakeApi], object]] = {
    "bookmark": FakeApi.bookmark,
    "compaction": FakeApi.forget,
    "ended": FakeApi.drop_watches,
    "broken": lambda api: api.drop_watches(is_clean=False),
    "half a line": lambda api: setattr(api.faults, "truncate", "clean"),
    "half a line, broken": lambda api: setattr(api.faults, "truncate", "abrupt"),
    "410": lambda api: api.error(410),
    "500": lambda api: api.error(500),
    "busy": lambda api: api.refuse(2, 429, "1"),
    "restart": FakeApi.restart,
    "mute": lambda api: setattr(api.faults, "is_mute", True),
    "speak": FakeApi.speak,
    "disorder": lambda api: setattr(api.faults, "scramble", Random(api.objects.version)),
    "order": lambda api: setattr(api.faults, "scramble", None),
}


@dataclass(frozen=True, slots=True)
class Batch:
    """What happens between two moments at which the server sends."""

    changed: list[str]
    flipped: list[str]  # removed when it is there, made when it is not
    faults: list[str]
    is_seen: bool  # the store catches up before the next one

    def happen(self, api: FakeApi) -> None:
        for name in self.changed:
            api.put("pods", pod(name, generation=api.objects.version))
        for name in self.flipped:
            flip(api, name)
        for fault in self.faults:
            FAULTS[fault](api)

    def be_seen(self, it: Following) -> None:
        if self.is_seen and not it.api.faults.is_mute:
            it.catch_up()


def flip(api: FakeApi, name: str) -> None:
    if f"ml/{name}" in on_server(api):
        api.remove("pods", "ml", name)
    else:
        api.put("pods", pod(name))


def heal(api: FakeApi) -> None:
    if api.faults.is_mute:
        api.speak()


SOME = st.lists(st.sampled_from(NAMES), max_size=3)
BATCHES = st.lists(
    st.builds(Batch, SOME, SOME, st.lists(st.sampled_from([*FAULTS]), max_size=3), st.booleans()), max_size=8
)


@settings(
    max_examples=80, deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.reuse, Phase.generate]
)  # not shrunk: each failure takes as long as `until` waits
@given(batches=BATCHES)
def test_whatever_happens_the_store_becomes_what_the_server_has(batches: list[Batch]) -> None:
    with tempfile.TemporaryDirectory() as folder, FakeApi() as api, following(api, Path(folder)) as it:
        it.catch_up()
        for batch in batches:
            with api.together():
                batch.happen(api)
            batch.be_seen(it)
        heal(api)
        it.catch_up()
        assert {each.key for each in it.store.of("ml/a")} == {key for key in on_server(api) if key.startswith("ml/a")}
        assert it.reflector.relists["resync"] == 0


def doubling() -> Iterator[float]:
    seconds = 0.5
    while True:
        yield seconds
        seconds = min(seconds * 2, 30.0)
