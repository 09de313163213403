"""The pod's series: named and typed by the rules, true now, and unbreakable by ranks."""

import json
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from ktrain.errors import SpecError
from ktrain.goodput import PRODUCTIVE, Account, Pending
from ktrain.names import Metric
from ktrain.serve import Server
from ktrain.snapshot import MAX_BYTES, STEP_BUCKETS, Sender, Snapshot
from ktrain_launcher import reference
from ktrain_launcher.board import Board, Inbox, Rank
from ktrain_launcher.ledger import Ledger
from ktrain_launcher.metrics import CLOSED_LABELS, STALE_SECONDS, TABLE, Collector, Identity
from ktrain_launcher.pages import Pages
from ktrain_launcher.tally import Tally
from tests.launcher.gang import until

ME = Identity("gpt", "research", node_rank=1, attempt=3, per_rank=True)
UNITS = ("_seconds", "_bytes", "_ratio", "_total", "_info", "_step", "_steps", "_per_second")
UNITLESS = {
    Metric.LOSS,
    Metric.METRIC,
    Metric.LEARNING_RATE,
    Metric.GRAD_NORM,
    Metric.PHASE,
    Metric.WORLD_SIZE,
    Metric.RANK_UP,
    Metric.RANKS_UP,
    Metric.STATE,
    Metric.ATTEMPT,
    Metric.GANG_EPOCH,
    Metric.DATA_EPOCH,
}


def full(rank: int = 0) -> Snapshot:
    """A snapshot in which every field has a value."""
    return Snapshot(
        rank=rank, local_rank=rank, world_size=2, pid=10 + rank, phase="train", step=7, total_steps=100, samples=70,
        tokens=700, epoch=0.5, progress=0.07, eta_seconds=930, loss=2.5, lr=1e-3, grad_norm=1.5, samples_per_second=10,
        tokens_per_second=100, step_seconds_sum=3.5, step_counts=[0, 0, 0, 0, 0, 4, 3, 0, 0, 0, 0, 0],
        data_wait_seconds=0.25, peer_wait_seconds=0.75, last_step_at=1.7e9, checkpoint_step=5, checkpoint_at=1.6e9, checkpoint_stall_seconds=0.1,
        checkpoint_seconds=1.25, checkpoint_interval_seconds=29, checkpoints=1, nonfinite_steps=1, memory_bytes=1 << 30,
        metrics={"val/loss": 2.6, "val/accuracy": 0.4},
    )  # fmt: skip


def board(*snapshots: Snapshot) -> Board:
    made = Board()
    made.begin([Rank(s.rank, s.local_rank, s.pid, time.monotonic()) for s in snapshots])
    for snapshot in snapshots:
        made.receive(snapshot.encode())
    return made


def counting() -> Tally:
    """Of node 0, whose account is of 45 s."""
    tally = Tally()
    account = Account(0, 45, {PRODUCTIVE: 30.0, "queue": 10.0}, Pending(5, 1, 2))
    tally.ledger = Ledger(account, lambda: None, tells=True, now=lambda: 45)
    return tally


def scrape(made: Board, me: Identity = ME, tally: Tally | None = None) -> str:
    return Pages(me, made, tally or Tally()).metrics()[2].decode()


def samples(text: str, name: str) -> list[Sample]:
    return [s for family in text_string_to_metric_families(text) for s in family.samples if s.name == name]


def value(text: str, name: str, /, **labels: str) -> float:
    found = [s.value for s in samples(text, name) if s.labels == labels]
    assert len(found) == 1, f"{name}{labels}: {found}"
    return found[0]


def test_every_name_has_one_row_in_the_table() -> None:
    assert sorted(series.name for series in TABLE) == sorted(Metric)


@pytest.mark.parametrize("series", TABLE, ids=lambda series: series.name)
def test_names_say_their_unit_and_type(series: object) -> None:
    row = next(each for each in TABLE if each is series)
    assert row.name.startswith("ktrain_")
    assert row.name in UNITLESS or row.name.endswith(UNITS)
    assert row.name.endswith("_total") == (row.kind == "counter")
    assert row.name.endswith("_info") == (row.kind == "info")
    assert row.help.endswith(".")


def test_a_full_scrape_parses_and_has_every_row_with_help_and_type() -> None:
    families = {
        family.name: family
        for family in text_string_to_metric_families(scrape(board(full(), full(1)), tally=counting()))
    }
    for row in TABLE:
        family = families[row.name.removesuffix("_total") if row.kind == "counter" else row.name]
        assert family.documentation == row.help
        assert family.samples
        assert family.type == ("gauge" if row.kind == "info" else row.kind)


def test_labels_come_from_closed_sets() -> None:
    for family in text_string_to_metric_families(scrape(board(full()))):
        for sample in family.samples:
            for label in CLOSED_LABELS.keys() & sample.labels.keys():
                assert sample.labels[label] in CLOSED_LABELS[label]


def test_values_are_those_of_the_snapshot() -> None:
    text = scrape(board(full()))
    assert value(text, "ktrain_step") == 7
    assert value(text, "ktrain_loss", split="train") == 2.5
    assert value(text, "ktrain_loss", split="val") == 2.6
    assert value(text, "ktrain_metric", name="accuracy", split="val") == 0.4
    assert value(text, "ktrain_phase", phase="train") == 1
    assert value(text, "ktrain_phase", phase="eval") == 0
    assert value(text, "ktrain_rank_memory_bytes", rank="0") == 1 << 30
    assert value(text, "ktrain_rank_peer_wait_seconds_total", rank="0") == 0.75


def test_the_histogram_is_cumulative_and_ends_with_all_steps() -> None:
    text = scrape(board(full()))
    buckets = [s.value for s in samples(text, "ktrain_step_seconds_bucket")]
    assert buckets == sorted(buckets)
    assert len(buckets) == len(STEP_BUCKETS) + 1
    assert value(text, "ktrain_step_seconds_count") == 7
    assert value(text, "ktrain_step_seconds_sum") == 3.5


def test_what_is_unknown_is_absent() -> None:
    text = scrape(board(Snapshot(rank=0, local_rank=0, world_size=1, pid=1)))
    for name in ("ktrain_loss", "ktrain_eta_seconds", "ktrain_checkpoint_last_step", "ktrain_tokens_total"):
        assert samples(text, name) == []


def test_only_the_pod_with_rank_0_speaks_for_the_job() -> None:
    text = scrape(board(full(1)))
    assert samples(text, "ktrain_step") == []
    assert value(text, "ktrain_rank_step", rank="1") == 7


def test_series_by_rank_can_be_left_out() -> None:
    text = scrape(board(full(), full(1)), replace(ME, per_rank=False))
    assert "rank=" not in text.replace("node_rank=", "")
    assert value(text, "ktrain_ranks_up") == 2


def test_a_dead_rank_is_down_and_says_nothing_more() -> None:
    made = board(full(), full(1))
    made.end(1, 137)
    made.receive(full(1).encode())  # was on its way
    text = scrape(made)
    assert value(text, "ktrain_rank_up", rank="0") == 1
    assert value(text, "ktrain_rank_up", rank="1") == 0
    assert [s.labels["rank"] for s in samples(text, "ktrain_rank_step")] == ["0"]


def test_old_words_of_a_living_rank_are_dropped_but_times_stay_true(monkeypatch: pytest.MonkeyPatch) -> None:
    made = board(full())
    later = time.monotonic() + STALE_SECONDS + 1
    monkeypatch.setattr(time, "monotonic", lambda: later)
    text = scrape(made)
    assert samples(text, "ktrain_step") == []
    assert value(text, "ktrain_last_step_timestamp_seconds") == 1.7e9


def test_where_the_time_went_is_told_by_node_0_alone() -> None:
    text = scrape(Board(), tally=counting())
    assert value(text, "ktrain_productive_seconds_total") == 30
    assert value(text, "ktrain_badput_seconds_total", reason="queue") == 10
    assert value(text, "ktrain_badput_seconds_total", reason="hang") == 0
    assert value(text, "ktrain_uncommitted_seconds") == 5
    assert samples(scrape(Board()), "ktrain_badput_seconds_total") == []


def test_the_launcher_counts_for_itself() -> None:
    tally = Tally()
    tally.restarted("killed")
    tally.exited(137)
    tally.exited(3)
    tally.met(0.5)
    tally.state = "running"
    text = scrape(Board(), tally=tally)
    assert value(text, "ktrain_restarts_total", cause="killed") == 1
    assert (
        value(text, "ktrain_restarts_total", cause="hang") == 0
    )  # there from the start, so that rate() sees the first
    assert value(text, "ktrain_rank_exits_total", code="137") == 1
    assert value(text, "ktrain_rank_exits_total", code="other") == 1
    assert value(text, "ktrain_rendezvous_seconds_sum") == 0.5
    assert value(text, "ktrain_launcher_state", state="running") == 1


@pytest.mark.parametrize(
    "datagram",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"\xff\xfe", id="no text"),
        pytest.param(b'{"rank": 0, "local_', id="cut"),
        pytest.param(b"[1]", id="no object"),
        pytest.param(b"{}", id="no rank"),
        pytest.param(b"[" * 1900, id="deep"),
        pytest.param(full().encode().replace(b'"step":7', b'"step":"7"'), id="a number that is text"),
        pytest.param(full().encode().replace(b'"step":7', b'"step":true'), id="a number that is none"),
        pytest.param(full().encode().replace(b"[0,0,0,0,0,4,", b"["), id="too few buckets"),
        pytest.param(full(5).encode(), id="a rank of another pod"),
        pytest.param(full().encode().replace(b'"metrics":{', b'"metrics":{"x":null,'), id="a metric without a value"),
    ],
)
def test_garbage_is_counted_and_changes_nothing(datagram: bytes) -> None:
    made = board(full())
    before = scrape(made)
    made.receive(datagram)
    after = scrape(made)
    assert value(after, "ktrain_snapshots_rejected_total") == 1
    assert [line for line in after.splitlines() if "rejected" not in line] == [
        line for line in before.splitlines() if "rejected" not in line
    ]


def test_fields_of_a_newer_trainer_are_ignored() -> None:
    assert value(scrape(board(full())), "ktrain_step") == 7
    made = board(full())
    made.receive(full().encode().replace(b'"step":7', b'"step":8,"new_field":[1]'))
    assert value(scrape(made), "ktrain_step") == 8


def test_an_older_trainer_says_nothing_of_waiting() -> None:
    assert Snapshot.decode(full().encode().replace(b'"peer_wait_seconds":0.75,', b"")).peer_wait_seconds == 0


def test_however_large_the_numbers_they_fit_into_a_datagram() -> None:
    words = {each.name for each in fields(Snapshot)} - {"phase", "step_counts", "metrics"}
    large: dict[str, Any] = dict.fromkeys(words, -1.2345678901234567e-100)
    snapshot = Snapshot(**large, phase="checkpoint", step_counts=[10**12] * (len(STEP_BUCKETS) + 1))
    assert len(snapshot.encode()) < MAX_BYTES


@pytest.fixture
def inbox(tmp_path: Path) -> Iterator[tuple[Inbox, Board]]:
    made = board(full())
    opened = Inbox(tmp_path, made)
    yield opened, made
    opened.close()


def test_a_snapshot_travels_over_the_socket(inbox: tuple[Inbox, Board]) -> None:
    sender = Sender(str(inbox[0].path))
    assert sender.send(replace(full(), step=9))
    sender.close()
    until(lambda: inbox[1].snapshots()[0].step == 9)


def test_a_datagram_that_is_too_long_is_garbage(inbox: tuple[Inbox, Board]) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        sender.sendto(b"x" * (3 * MAX_BYTES), str(inbox[0].path))
    until(lambda: inbox[1].rejected == 1)


def test_a_socket_path_that_is_too_long_is_shortened(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 60) / ("e" * 60)
    deep.mkdir(parents=True)
    opened = Inbox(deep, Board())
    assert len(str(opened.path)) <= 100
    opened.close()
    assert not opened.path.exists()


def test_the_server_answers_its_three_pages_and_no_other() -> None:
    server = Server(
        Pages(ME, board(replace(full(), loss=float("nan"))), Tally()).routes,
        setting="spec.metrics.port",
        bind="127.0.0.1",
        port=0,
    )
    base = f"http://127.0.0.1:{server.port}"
    try:
        assert urllib.request.urlopen(f"{base}/healthz").read() == b"ok\n"
        assert b"ktrain_step 7.0" in urllib.request.urlopen(f"{base}/metrics").read()
        status = json.loads(urllib.request.urlopen(f"{base}/status").read())
        with pytest.raises(urllib.error.HTTPError, match="404") as missing:
            urllib.request.urlopen(f"{base}/other")
        missing.value.close()
    finally:
        server.close()
    assert status["ranks"][0]["step"] == 7
    assert status["ranks"][0]["loss"] is None
    assert status["ranks"][0]["alive"] is True
    assert status["state"] == "preflight"


def test_all_addresses_are_served_when_none_is_given() -> None:
    server = Server(Pages(ME, Board(), Tally()).routes, setting="spec.metrics.port", bind="", port=0)
    try:
        assert urllib.request.urlopen(f"http://127.0.0.1:{server.port}/healthz").status == 200
    finally:
        server.close()


def test_a_silent_agent_is_not_healthy(monkeypatch: pytest.MonkeyPatch) -> None:
    tally = Tally()
    later = time.monotonic() + 61
    monkeypatch.setattr(time, "monotonic", lambda: later)
    status, _, body = Pages(ME, Board(), tally).healthz()
    assert (status, body) == (503, b"silent for 61 s\n")


def test_a_taken_port_is_told_in_a_sentence() -> None:
    server = Server(Pages(ME, Board(), Tally()).routes, setting="spec.metrics.port", bind="127.0.0.1", port=0)
    try:
        with pytest.raises(SpecError, match=rf"port {server.port} for metrics cannot be bound .*spec.metrics.port"):
            Server(Pages(ME, Board(), Tally()).routes, setting="spec.metrics.port", bind="127.0.0.1", port=server.port)
    finally:
        server.close()


def test_the_published_table_is_the_codes() -> None:
    page = Path(__file__).parents[2] / "docs/metrics.md"
    assert page.read_text() == reference.render(), "run: python -m ktrain_launcher.reference > docs/metrics.md"


def test_the_collector_stores_nothing() -> None:
    collector = Collector(ME, board(full()), Tally())
    assert [m.name for m in collector.collect()] == [m.name for m in collector.collect()]
