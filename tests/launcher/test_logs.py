"""What ranks print: whole lines, prefixed, kept."""

import io
from pathlib import Path

import pytest

from ktrain_launcher.lines import MAX_LINE, Lines
from ktrain_launcher.logs import KEPT_EPOCHS, LAST_LINES, Logs


@pytest.mark.parametrize(
    ("chunks", "lines"),
    [
        pytest.param([b"one\ntwo\n"], ["one", "two"], id="whole lines"),
        pytest.param([b"o", b"ne", b"\n"], ["one"], id="a line in pieces"),
        pytest.param([b"caf\xc3", b"\xa9\n"], ["café"], id="a letter in pieces"),
        pytest.param([b"\n\n"], ["", ""], id="empty lines stay"),
        pytest.param([b"10%\r20%\r", b"100%\n"], ["100%"], id="a progress bar: its last state"),
        pytest.param([b"one\r\ntwo\r\n"], ["one", "two"], id="lines of another system"),
        pytest.param([b"\xff\x00\x07\n"], ["\\xff\\x00\\x07"], id="bytes that are no text"),
        pytest.param([b"\x1b[31mred\x1b[0m\tx\n"], ["\x1b[31mred\x1b[0m\tx"], id="colours and tabs stay"),
        pytest.param([b"no end"], ["no end"], id="the end of the stream ends a line"),
    ],
)
def test_bytes_become_lines(chunks: list[bytes], lines: list[str]) -> None:
    stream = Lines()
    found = [line for chunk in chunks for line in stream.feed(chunk)]
    assert found + stream.end() == lines


def test_a_huge_line_comes_in_pieces_and_does_not_fill_the_memory() -> None:
    stream = Lines()
    found = stream.feed(b"x" * (3 * MAX_LINE + 5))
    assert [len(line) for line in found + stream.end()] == [MAX_LINE, MAX_LINE, MAX_LINE, 5]


def test_an_endless_progress_bar_does_not_fill_the_memory() -> None:
    stream = Lines()
    assert [line for i in range(10_000) for line in stream.feed(f"\r{i:5}".encode() * 10)] == []
    assert stream.end() == [" 9999"]


def test_lines_of_several_ranks_are_prefixed_and_stay_whole(tmp_path: Path) -> None:
    out, err = io.BytesIO(), io.BytesIO()
    logs = Logs(tmp_path, out=out, err=err)
    logs.follow("a0001-e0001", [2, 3], world_size=4)
    with (
        logs.paths("a0001-e0001", 2)[0].open("ab", buffering=0) as two,
        logs.paths("a0001-e0001", 3)[1].open("ab", buffering=0) as three,
    ):
        two.write(b"hel")
        three.write(b"alone\n")
        two.write(b"lo\n")
    logs.close()
    assert out.getvalue() == b"[rank 2] hello\n"
    assert err.getvalue() == b"[rank 3] alone\n"


def test_a_single_rank_needs_no_prefix(tmp_path: Path) -> None:
    out = io.BytesIO()
    logs = Logs(tmp_path, out=out, err=io.BytesIO())
    logs.follow("a0001-e0001", [0], world_size=1)
    logs.paths("a0001-e0001", 0)[0].write_bytes(b"hello")
    logs.close()
    assert out.getvalue() == b"hello\n"


def test_the_last_lines_are_kept_for_the_verdict(tmp_path: Path) -> None:
    logs = Logs(tmp_path, out=io.BytesIO(), err=io.BytesIO())
    logs.follow("a0001-e0001", [0], world_size=1)
    logs.paths("a0001-e0001", 0)[0].write_text("".join(f"line {i}\n" for i in range(LAST_LINES + 50)))
    last = logs.last_lines(0)
    logs.close()
    assert (len(last), last[-1]) == (LAST_LINES, f"line {LAST_LINES + 49}")
    assert logs.last_lines(0) == last


def test_a_reader_that_has_gone_stops_nothing(tmp_path: Path) -> None:
    closed = io.BytesIO()
    closed.close()
    logs = Logs(tmp_path, out=closed, err=closed)
    logs.follow("a0001-e0001", [0], world_size=1)
    logs.paths("a0001-e0001", 0)[0].write_bytes(b"hello\n")
    logs.drain()
    logs.close()
    assert logs.last_lines(0) == ["hello"]


def test_files_of_old_epochs_go(tmp_path: Path) -> None:
    logs = Logs(tmp_path, out=io.BytesIO(), err=io.BytesIO())
    for epoch in range(KEPT_EPOCHS + 3):
        logs.follow(f"a0001-e{epoch:04}", [0], world_size=1)
    logs.close()
    assert sorted(path.name for path in tmp_path.iterdir())[0] == "a0001-e0003"
    assert len(list(tmp_path.iterdir())) == KEPT_EPOCHS
