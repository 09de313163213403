"""Launchers are asked at a bounded rate, and silence is told apart from a word."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ktrain.errors import UnreachableError
from ktrain.serve import Server
from ktrain.snapshot import Snapshot
from ktrain_controller import beat as beats
from ktrain_controller.beat import Beat, RankBeat, RankPace, read_beat
from ktrain_controller.scrape import MAX_BYTES, Scraper, fetch
from ktrain_launcher.board import Board, Rank
from ktrain_launcher.control import Pace
from ktrain_launcher.metrics import Identity
from ktrain_launcher.pace import MAX_RANKS
from ktrain_launcher.pages import Pages
from ktrain_launcher.tally import Tally

NOW = 1_800_000_000.0
MINIMAL = {"state": "running", "epoch": 1, "attempt": 0}


def wait_for(claim: Callable[[], bool]) -> None:
    ends = time.monotonic() + 5
    while not claim() and time.monotonic() < ends:
        time.sleep(0.005)
    assert claim()


class Launchers:
    """One server that is every job's pod; hung, broken or well, as told."""

    def __init__(self, host: str = "127.0.0.1") -> None:
        self.status, self.body, self.location = 200, json.dumps(MINIMAL).encode(), ""
        self.asked: list[float] = []
        self.gate = threading.Event()
        self.gate.set()
        launchers = self

        class Handler(BaseHTTPRequestHandler):
            wbufsize = 65536

            def do_GET(self) -> None:
                launchers.asked.append(time.monotonic())
                launchers.gate.wait(5)
                self.send_response(launchers.status if self.path == "/status" else 404)
                self.send_header("Location", launchers.location)
                self.end_headers()
                self.wfile.write(launchers.body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  -- http.server's name
                """Quiet."""

        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        server = type("HTTPServer", (ThreadingHTTPServer,), {"address_family": family, "request_queue_size": 100})
        self._server: ThreadingHTTPServer = server((host, 0), Handler)
        self.port = self._server.server_port
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self.gate.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture
def launchers() -> Iterator[Launchers]:
    made = Launchers()
    yield made
    made.close()


class Heard:
    """A scraper, and what it told."""

    def __init__(self, **settings: Any) -> None:
        self.beats: list[tuple[str, Beat]] = []
        self.silences: list[tuple[str, str]] = []
        self.wall = NOW
        self.ahead = 0.0
        self.scraper = Scraper(
            on_beat=lambda key, beat: self.beats.append((key, beat)),
            on_silence=lambda key, reason: self.silences.append((key, reason)),
            clock=lambda: time.monotonic() + self.ahead,
            wall=lambda: self.wall,
            **settings,
        )


@pytest.fixture
def heard() -> Iterator[Heard]:
    made = Heard(rate=1000)
    yield made
    made.scraper.close()


def test_a_real_launchers_page_is_read() -> None:
    board, tally = Board(), Tally()
    board.begin([Rank(0, 0, 11, 0.0), Rank(1, 1, 12, 0.0), Rank(2, 2, 13, 0.0)])
    common = {"world_size": 3, "checkpoint_step": 40, "checkpoint_at": NOW - 9, "phase": "checkpoint"}
    board.receive(Snapshot(0, 0, pid=11, step=42, last_step_at=NOW - 1, **common).encode())  # type: ignore[arg-type]
    words: dict[str, Any] = {**common, "checkpoint_step": -1, "loss": float("nan")}
    board.receive(
        Snapshot(
            1, 1, pid=12, step=41, last_step_at=NOW - 2, step_seconds_sum=7.5, data_wait_seconds=0.5, **words
        ).encode()
    )
    board.end(1, 1)
    tally.state, tally.epoch, tally.world_size, tally.note = "running", 5, 3, "for nobody"
    tally.restarted("crash")
    server = Server(
        Pages(Identity("j", "n", 0, 2, per_rank=False), board, tally).routes,
        setting="spec.metrics.port",
        bind="127.0.0.1",
        port=0,
    )
    try:
        document = fetch("127.0.0.1", server.port)
    finally:
        server.close()
    assert abs(document["now"] - time.time()) < 60
    beat = read_beat(document | {"now": NOW}, NOW)
    assert asdict(beat) | {"ranks": ()} == {
        "heard_at": NOW, "state": "running", "epoch": 5, "attempt": 2, "restarts": 1, "step": 42,
        "phase": "checkpoint", "last_step_at": NOW - 1, "hang_limit": None, "checkpoint_step": 40,
        "checkpoint_at": NOW - 9, "world_size": 3, "note": "for nobody", "ranks": (), "pace": (),
    }  # fmt: skip
    assert beat.is_saving
    assert beat.ranks[1] == RankBeat(1, 41, "checkpoint", NOW - 2, 7.5, 0.5, is_up=False)
    assert beat.ranks[2] == RankBeat(2)


def test_a_launcher_whose_ranks_have_not_spoken_has_no_step_and_no_commit() -> None:
    beat = read_beat({**MINIMAL, "ranks": [{"rank": 0, "local_rank": 0, "age_seconds": None}], "hang_limit": 60}, NOW)
    assert (beat.step, beat.phase, beat.last_step_at, beat.checkpoint_step) == (0, "", 0.0, -1)
    assert (beat.hang_limit, beat.is_saving) == (60.0, False)


def test_a_pods_times_are_told_by_our_clock() -> None:
    ranks = [{"rank": 0, "phase": "train", "step": 7, "last_step_at": 1000.0, "checkpoint_at": 990.0}]
    beat = read_beat({**MINIMAL, "ranks": ranks, "now": 1003.0}, NOW)
    assert (beat.last_step_at, beat.checkpoint_at, beat.ranks[0].last_step_at) == (NOW - 3, NOW - 13, NOW - 3)


def test_the_step_is_that_of_the_first_rank_that_speaks() -> None:
    ranks = [{"rank": 5, "phase": "data", "step": 7}, {"rank": 3, "phase": "train", "step": 9}, {"rank": 2}]
    beat = read_beat({**MINIMAL, "ranks": ranks}, NOW)
    assert (beat.step, beat.phase, [it.rank for it in beat.ranks]) == (9, "train", [2, 3, 5])


def test_an_odd_number_of_one_rank_does_not_silence_the_job() -> None:
    beat = read_beat({**MINIMAL, "ranks": [{"rank": 0, "phase": "train", "step": 3.0, "last_step_at": None}]}, NOW)
    assert (beat.step, beat.last_step_at) == (3, 0.0)


def test_the_pace_of_all_ranks_is_read_by_rank() -> None:
    pace = [
        {
            "rank": 1,
            "node": 1,
            "steps": 20,
            "step_seconds": 2.5,
            "peer_wait_seconds": 0,
            "data_wait_seconds": 1.5,
            "new": 1,
        },
        {"rank": 0, "steps": 21, "step_seconds": None, "peer_wait_seconds": 2.0},
    ]
    found = read_beat({**MINIMAL, "pace": pace}, NOW).pace
    assert found == (RankPace(0, 0, 21.0, 0.0, 2.0, 0.0), RankPace(1, 1, 20.0, 2.5, 0.0, 1.5))


@pytest.mark.parametrize(
    "pace",
    [None, {}, "fast", 7, [None], [{}], [{"rank": -1}], [{"rank": True}], [{"rank": 0, "steps": float("nan")}],
     [{"rank": 0, "step_seconds": "1"}], [{"rank": 0, "steps": 10**400}], [[[]]]],
    ids=["null", "object", "text", "number", "nothing", "empty", "no rank", "boolean", "nan", "words", "huge", "deep"],
)  # fmt: skip
def test_a_pace_that_is_none_does_not_silence_the_job(pace: object) -> None:
    beat = read_beat({**MINIMAL, "pace": pace}, NOW)
    assert (beat.state, beat.pace) == ("running", ())


def test_a_pace_of_more_ranks_than_a_gang_has_is_not_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(beats, "MAX_PACES", 2)
    assert len(read_beat({**MINIMAL, "pace": [{"rank": rank} for rank in range(2)]}, NOW).pace) == 2
    assert read_beat({**MINIMAL, "pace": [{"rank": rank} for rank in range(3)]}, NOW).pace == ()


def test_the_launchers_page_of_many_ranks_is_not_too_long_for_us() -> None:
    tally = Tally()
    widest = Pace(
        rank=4095, node=511, steps=10**9, step_seconds=1e8 + 0.1234, peer_wait_seconds=1e8, data_wait_seconds=1e8
    )
    tally.pace = [asdict(replace(widest, rank=rank)) for rank in range(MAX_RANKS)]
    page = Pages(Identity("j", "n", 0, 2, per_rank=False), Board(), tally).status()[2]
    assert len(page) < 0.8 * MAX_BYTES
    assert len(read_beat(json.loads(page), NOW).pace) == MAX_RANKS


@pytest.mark.parametrize(
    "document",
    [
        None, [], "running", {}, {"state": "running"}, {**MINIMAL, "state": 1}, {**MINIMAL, "state": "x" * 51},
        {**MINIMAL, "epoch": -1}, {**MINIMAL, "epoch": 10**400}, {**MINIMAL, "ranks": {}}, {**MINIMAL, "ranks": [None]},
        {**MINIMAL, "ranks": [{}]}, {**MINIMAL, "ranks": [{"rank": 0, "last_step_at": float("nan")}]},
        {**MINIMAL, "ranks": [{"rank": 0, "step": float("inf")}]}, {**MINIMAL, "hang_limit": "auto"},
        {**MINIMAL, "note": None}, {1: 2}, object(),
    ],
)  # fmt: skip
def test_garbage_is_a_value_error_with_a_sentence(document: object) -> None:
    with pytest.raises(ValueError, match="its /status is not a launcher's: "):
        read_beat(document, NOW)


ATOMS = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
TREES = st.recursive(
    ATOMS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)
RANKS = st.lists(
    st.fixed_dictionaries({"rank": ATOMS}, optional={"step": ATOMS, "phase": ATOMS, "checkpoint_at": ATOMS})
)


@settings(deadline=None)
@given(
    st.fixed_dictionaries(
        {}, optional={**dict.fromkeys(MINIMAL, TREES), "ranks": RANKS | TREES, "note": TREES, "pace": TREES}
    )
)
def test_no_document_raises_anything_else(document: dict[str, Any]) -> None:
    for tree in (document, {**MINIMAL, **document}, {**document, **MINIMAL}):
        try:
            assert isinstance(read_beat(tree, NOW), Beat)
        except ValueError as error:
            assert "not a launcher's" in str(error)  # noqa: PT017  -- either end is good


def test_a_pod_by_ipv6_is_asked() -> None:
    made = Launchers("::1")
    try:
        assert fetch("::1", made.port) == MINIMAL
    finally:
        made.close()


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (503, b"{}", "HTTP 503"),
        (404, b"{}", "HTTP 404"),
        (302, b"{}", "HTTP 302"),
        (200, b"<html>", "no JSON object"),
        (200, b"[]", "no JSON object"),
        (200, b"[" * 500_000, "no JSON object"),
        (200, b"\xff", "no JSON object"),
        (200, b" " * (2 << 20), "more than 1048576 bytes"),
    ],
    ids=["503", "404", "redirect", "html", "list", "deep", "binary", "large"],
)
def test_a_page_that_is_no_launchers_is_refused(launchers: Launchers, status: int, body: bytes, why: str) -> None:
    launchers.status, launchers.body, launchers.location = status, body, "http://127.0.0.1:1/"
    with pytest.raises(UnreachableError, match=why):
        fetch("127.0.0.1", launchers.port)


def test_a_launcher_that_hangs_is_given_up(launchers: Launchers) -> None:
    launchers.gate.clear()
    with pytest.raises(UnreachableError, match=r"within 0\.1 s"):
        fetch("127.0.0.1", launchers.port, 0.1)


def test_a_watched_job_is_heard(launchers: Launchers, heard: Heard) -> None:
    heard.scraper.watch("a", "127.0.0.1", launchers.port)
    wait_for(lambda: len(heard.beats) == 1)
    key, beat = heard.beats[0]
    assert (key, beat.heard_at, beat.state) == ("a", NOW, "running")
    assert heard.scraper.silence("a") is None


def test_watching_the_same_pod_again_asks_it_no_sooner(launchers: Launchers, heard: Heard) -> None:
    for _ in range(10):
        heard.scraper.watch("a", "127.0.0.1", launchers.port)
        wait_for(lambda: bool(heard.beats))
    heard.scraper.watch("b", "127.0.0.1", launchers.port)
    wait_for(lambda: len(heard.beats) == 2)
    assert [key for key, _ in heard.beats] == ["a", "b"]


def test_a_job_is_asked_again_after_its_interval(launchers: Launchers, heard: Heard) -> None:
    heard.scraper.watch("a", "127.0.0.1", launchers.port)
    wait_for(lambda: len(heard.beats) == 1)
    heard.ahead += 9
    heard.scraper.watch("b", "127.0.0.1", launchers.port)
    wait_for(lambda: len(heard.beats) == 2)
    heard.ahead += 2
    heard.scraper.ask_soon("nobody")
    heard.scraper.watch("c", "127.0.0.1", launchers.port)  # wakes those who wait by another clock
    wait_for(lambda: len(heard.beats) == 4)
    assert sorted(key for key, _ in heard.beats) == ["a", "a", "b", "c"]


def test_a_job_can_be_asked_before_its_time(launchers: Launchers, heard: Heard) -> None:
    heard.scraper.watch("a", "127.0.0.1", launchers.port)
    wait_for(lambda: len(heard.beats) == 1)
    heard.scraper.ask_soon("a")
    wait_for(lambda: len(heard.beats) == 2)


def test_silence_is_told_with_its_reason_and_its_beginning(launchers: Launchers, heard: Heard) -> None:
    launchers.status = 500
    heard.scraper.watch("a", "127.0.0.1", launchers.port)
    wait_for(lambda: len(heard.silences) == 1)
    heard.wall += 30
    heard.ahead += 30
    heard.scraper.ask_soon("a")
    wait_for(lambda: len(heard.silences) == 2)
    assert heard.silences[0] == (
        "a",
        f"127.0.0.1:{launchers.port}: HTTP 500 where a launcher's /status was expected",
    )
    silence = heard.scraper.silence("a")
    assert silence
    assert silence.since == pytest.approx(NOW, abs=5)
    assert not silence.is_old
    launchers.status = 200
    heard.scraper.ask_soon("a")
    wait_for(lambda: len(heard.beats) == 1)
    assert heard.scraper.silence("a") is None


def test_a_page_that_is_no_status_is_silence(launchers: Launchers, heard: Heard) -> None:
    launchers.body = b'{"state": 5}'
    heard.scraper.watch("a", "127.0.0.1", launchers.port)
    wait_for(lambda: len(heard.silences) == 1)
    assert "not a launcher's" in heard.silences[0][1]


def test_silence_is_asked_again_soon_and_then_less_and_less(launchers: Launchers, heard: Heard) -> None:
    launchers.status = 500
    heard.scraper.watch("a", "127.0.0.1", launchers.port)
    delays = []
    for count in range(1, 6):
        wait_for(lambda count=count: len(heard.silences) == count)  # type: ignore[misc]
        delays.append(heard.scraper._again(heard.scraper._targets["a"]))
        heard.scraper.ask_soon("a")
    assert delays == [10, 20, 40, 60, 60]


def test_a_silence_gets_no_longer_when_the_servers_clock_is_set(heard: Heard) -> None:
    heard.scraper.watch("a", "127.0.0.1", 1)
    wait_for(lambda: len(heard.silences) == 1)
    heard.wall += 600
    silence = heard.scraper.silence("a")
    assert silence
    assert silence.since == pytest.approx(NOW + 600, abs=5)


def test_whoever_wants_to_know_of_a_silence_has_it_looked_into(launchers: Launchers, heard: Heard) -> None:
    launchers.status = 500
    heard.scraper.watch("a", "127.0.0.1", launchers.port)
    for count in (1, 2, 3):
        wait_for(lambda count=count: len(heard.silences) == count)  # type: ignore[misc]
        heard.scraper.ask_soon("a")
    wait_for(lambda: len(heard.silences) == 4)
    launchers.status = 200
    heard.ahead += 15  # it would be asked after a minute
    silence = heard.scraper.silence("a")
    assert silence
    assert silence.is_old
    wait_for(lambda: len(heard.beats) == 1)
    assert heard.scraper.silence("a") is None


def test_another_pod_of_the_job_begins_with_a_clean_record(launchers: Launchers, heard: Heard) -> None:
    heard.scraper.watch("a", "127.0.0.1", 1)
    wait_for(lambda: len(heard.silences) == 1)
    heard.scraper.watch("a", "127.0.0.1", launchers.port)
    wait_for(lambda: len(heard.beats) == 1)
    assert heard.scraper.silence("a") is None


def test_a_forgotten_job_is_not_heard_and_not_asked_again(launchers: Launchers, heard: Heard) -> None:
    launchers.gate.clear()
    heard.scraper.watch("a", "127.0.0.1", launchers.port)
    wait_for(lambda: len(launchers.asked) == 1)
    heard.scraper.forget("a")
    launchers.gate.set()
    heard.scraper.watch("b", "127.0.0.1", launchers.port)
    wait_for(lambda: len(heard.beats) == 1)
    heard.ahead += 100
    heard.scraper.ask_soon("a")
    heard.scraper.ask_soon("b")
    wait_for(lambda: len(heard.beats) >= 2)
    assert {key for key, _ in heard.beats} == {"b"}
    assert heard.scraper.silence("a") is None


def test_the_rate_holds_however_many_jobs_begin_at_once(launchers: Launchers) -> None:
    made = Heard(rate=100, threads=8)
    for number in range(60):
        made.scraper.watch(f"j{number}", "127.0.0.1", launchers.port)
    wait_for(lambda: len(made.beats) == 60)
    made.scraper.close()
    assert max(launchers.asked) - min(launchers.asked) >= 0.95 * 59 / 100


@pytest.mark.parametrize(("jobs", "interval"), [(1, 10), (500, 10), (1000, 20), (10_000, 200)])
def test_the_interval_stretches_with_the_number_of_jobs(jobs: int, interval: float) -> None:
    made = Heard(threads=0)
    for number in range(jobs):
        made.scraper.watch(f"j{number}", "127.0.0.1", 1)
    assert made.scraper.interval == interval
    made.scraper.close()


def test_the_share_of_silent_jobs_is_of_those_asked_lately(launchers: Launchers, heard: Heard) -> None:
    for key in ("a", "b"):
        heard.scraper.watch(key, "127.0.0.1", launchers.port)
    heard.scraper.watch("gone", "127.0.0.1", 1)
    wait_for(lambda: len(heard.beats) == 2 and len(heard.silences) == 1)
    assert heard.scraper.silent_share() == (1, 3)
    heard.scraper.forget("gone")
    launchers.gate.clear()  # from now on nobody answers
    heard.ahead += 100
    assert heard.scraper.silent_share() == (0, 0)
    launchers.status = 500
    launchers.gate.set()
    heard.scraper.ask_soon("a")
    wait_for(lambda: any(key == "a" for key, _ in heard.silences))
    heard.ahead += 2
    silent, asked = heard.scraper.silent_share()
    assert silent == asked >= 1


def test_jobs_that_fell_silent_stay_so_in_the_share_though_they_are_asked_seldom(heard: Heard) -> None:
    """Two jobs behind a network that broke: a minute later none of them was asked lately, and both would be restarted."""
    for key in ("a", "b"):
        heard.scraper.watch(key, "127.0.0.1", 1)
    wait_for(lambda: len(heard.silences) == 2)
    heard.ahead += 50
    assert heard.scraper.silent_share() == (2, 2)
