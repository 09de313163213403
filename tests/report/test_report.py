"""A run's records as one history, and the page made of them."""

from html.parser import HTMLParser
from typing import Any

import pytest

from ktrain.goodput import Account, Pending, total
from ktrain.goodput.tell import Spent
from ktrain.history import Commit, Head
from ktrain.records import Records, lasting, read_records
from ktrain.report import chart, timeline
from ktrain.report.page import numbers, page
from ktrain.storage.memory import MemoryStorage

# 50 s on 8 GPUs; at 2 an hour for each, badput costs 0.044.
SPENT = Spent(total([Account(100, 150, {"productive": 30, "lost_work": 10}, Pending(10, 5, 9))]), gpus=8)


def record(kind: str, time: float, step: int, epoch: int = 1, **fields: Any) -> dict[str, Any]:
    return {"kind": kind, "time": time, "attempt": 1, "epoch": epoch, "step": step, "samples": 0, "tokens": 0, **fields}


def two_lives() -> list[dict[str, Any]]:
    """Ten steps of a second each, killed at 10, restored to 6, on to 12; an evaluation and two saves."""
    return [
        record("start", 100.0, 0, restored_step=0, world_size=2),
        record("step", 105.0, 5, loss=2.0, step_seconds=0.8, data_seconds=0.1),
        record("checkpoint", 106.5, 6, stall_seconds=0.5, seconds=0.6, size_bytes=10, committed=True),
        record("step", 110.5, 10, loss=1.8, step_seconds=0.8, data_seconds=0.1),
        record("start", 120.5, 6, epoch=2, restored_step=6, world_size=2),
        record("step", 125.5, 10, epoch=2, loss=1.9, step_seconds=1.0, data_seconds=0.0),
        record("eval", 127.5, 10, epoch=2, values={"val/loss": 2.5}, seconds=2.0),
        record("step", 129.5, 12, epoch=2, loss=1.7, step_seconds=1.0, data_seconds=0.0),
        record("end", 130.0, 12, epoch=2, reason="duration"),
    ]


def test_what_a_later_epoch_did_again_replaces_what_was_lost() -> None:
    steps = [(it["step"], it["loss"]) for it in lasting(two_lives()) if it["kind"] == "step"]
    assert steps == [(5, 2.0), (10, 1.9), (12, 1.7)]


def test_records_are_read_over_segments_and_torn_lines() -> None:
    storage = MemoryStorage()
    storage.put("metrics/a0001-e0002/000001.jsonl", b'{"kind":"step","time":2,"step":7}\n')
    storage.put("metrics/a0001-e0001/000002.jsonl", b'{"kind":"step","time":1,"step":2}\n{"kind":"st')
    storage.put("metrics/a0001-e0001/000001.jsonl", b'{"kind":"step","time":0,"step":1}\nnull\n')
    found = read_records(storage)
    assert [it["step"] for it in found.all] == [1, 2, 7]
    assert found.unreadable == 2


def test_lives_know_what_was_lost() -> None:
    first, second = timeline.epochs(two_lives())
    assert (first.last_step, first.kept_step, first.end) == (10, 6, "")
    assert (second.first_step, second.last_step, second.kept_step, second.end) == (6, 12, 12, "end")


def test_no_records_are_no_error() -> None:
    text = page(title="empty", url="u", records=Records((), 0), head=None, spec={}, spent=Spent(total([]), 0))
    assert "<h1>empty</h1>" in text
    assert "Where the time went" not in text


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 10, [0, 2, 4, 6, 8, 10]), (0.13, 0.47, [0.2, 0.3, 0.4]), (5, 5, [5]), (-1, 1, [-1, -0.5, 0, 0.5, 1])],
)
def test_ticks_are_round(low: float, high: float, expected: list[float]) -> None:
    assert chart.ticks(low, high) == pytest.approx(expected)


def test_a_chart_leaves_out_what_is_not_finite() -> None:
    svg = chart.lines([chart.Line("loss", ((0, 1.0), (1, float("nan")), (2, 3.0)))], x_label="step")
    assert "nan" not in svg
    assert chart.lines([chart.Line("loss", ((0, 1.0),))], x_label="step") == ""


class Checker(HTMLParser):
    """Open tags match closing ones, and nothing comes from outside."""

    VOID = frozenset({"meta", "line", "rect"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in {"src", "href"}]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag


def test_the_page_is_whole_and_escapes_everything() -> None:
    head = Head(1, 1, 2, (Commit(12, "m", "0" * 64, 1, 2, 10, 0.0, metric=2.5),), done=True)
    spec = {"metadata": {"name": "<script>alert(1)</script>"}}
    text = page(
        title="<b>&",
        url="file:///x",
        records=Records(tuple(two_lives()), 1),
        head=head,
        spec=spec,
        spent=SPENT,
        price=2.0,
    )
    checker = Checker()
    checker.feed(text)
    assert checker.open == []
    assert checker.links == []
    assert "<script" not in text
    assert "<b>&" not in text
    assert "done (duration)" in text
    for told in ("goodput</dt><dd>75.0 %", "lost work</td><td>10s</td><td>20.0 %", "cost of badput</dt><dd>0.04"):
        assert told in text


def test_the_numbers_are_those_of_the_page() -> None:
    found = numbers(Records(tuple(two_lives()), 0), None, SPENT)
    assert found["metrics"] == {"val/loss": 2.5}
    assert found["goodput"]["ratio"] == 0.75
    assert found["goodput"]["badput_seconds"]["lost_work"] == 10
    assert found["goodput"]["uncommitted_seconds"] == 10
    assert "cost" not in found["goodput"]
    assert [it["kept"] for it in found["epochs"]] == [6, 12]
    assert found["state"] == "not finished"
