"""The table that launchers share: the same words in node 0's memory and over a connection."""

import json
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import pytest

from ktrain.errors import PeerLostError, SpecError
from ktrain_launcher import table_client
from ktrain_launcher.table import KeyValues, Table
from ktrain_launcher.table_client import TableClient, connect
from ktrain_launcher.table_server import GREETING, MAX_LINE, TableServer

HOST = "127.0.0.1"


def say(_event: str, **_fields: object) -> None:
    """Nobody listens."""


@pytest.fixture
def server() -> Iterator[TableServer]:
    made = TableServer(Table(), HOST, 0)
    yield made
    made.close()


def client(port: int) -> TableClient:
    found = connect(HOST, port, pause=lambda _seconds: False, say=say, note=len)
    assert found is not None
    return found


@pytest.fixture
def one(server: TableServer) -> Iterator[TableClient]:
    """A launcher of another node."""
    made = client(server.port)
    yield made
    made.close()


@pytest.fixture(params=["memory", "connection"])
def table(request: pytest.FixtureRequest) -> KeyValues:
    return Table() if request.param == "memory" else request.getfixturevalue("one")


def test_what_was_put_is_found(table: KeyValues) -> None:
    assert table.get("a") == [None]
    table.put("a", 'é"\n')
    table.put("b", "")
    assert table.get("b", "a", "c") == ["", 'é"\n', None]
    assert table.get() == []


def test_the_first_value_holds(table: KeyValues) -> None:
    assert table.put_first("a", "1") == "1"
    assert table.put_first("a", "2") == "1"
    assert table.put_first("a", "1") == "1"


def test_a_value_is_swapped_once(table: KeyValues) -> None:
    table.put("a", "1")
    assert [table.swap("a", "1", "2"), table.swap("a", "1", "3")] == ["2", "2"]


def test_a_number_begins_at_0(table: KeyValues) -> None:
    assert [table.add("n", 0), table.add("n", 2), table.add("n", 1)] == [0, 2, 3]


def test_a_will_is_done_when_the_connection_ends(server: TableServer, one: TableClient) -> None:
    other = client(server.port)
    other.will("a", "1")
    other.will("a", "2")
    other.will("b", "3")
    assert one.get("a", "b") == [None, None]
    other.close()
    end = time.monotonic() + 10
    while one.get("a", "b") != ["2", "3"]:
        assert time.monotonic() < end


def test_no_word_of_many_launchers_is_lost(server: TableServer, one: TableClient) -> None:
    def work(_number: int) -> None:
        made = client(server.port)
        for _ in range(50):
            made.add("n", 1)
        made.close()

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(work, range(20)))
    assert one.add("n", 0) == 1000


@pytest.mark.parametrize(
    "line",
    [b"GET / HTTP/1.1\r\n", b"[]\n", b'["close"]\n', b'["__init__"]\n', b'["get", {}]\n', b'["put", "a"]\n', b'["add", "a", "b"]\n',
     b'["swap", "no such", "a", "b"]\n', b'["will", "a"]\n', b"x" * (MAX_LINE + 2) + b"\n", b"\xff\n", b"7\n"],
    ids=["http", "empty", "close", "private", "object", "too few", "no number", "unknown", "half a will", "long", "binary", "scalar"],
)  # fmt: skip
def test_a_stranger_costs_only_its_connection(server: TableServer, one: TableClient, line: bytes) -> None:
    with socket.create_connection((HOST, server.port), timeout=10) as stranger:
        assert stranger.recv(len(GREETING), socket.MSG_WAITALL) == GREETING
        stranger.sendall(line)
        assert rest(stranger) == b""
    assert one.put_first("still", "here") == "here"


def rest(connection: socket.socket) -> bytes:
    try:
        return connection.recv(100)
    except ConnectionResetError:
        return b""


def test_a_long_value_is_kept(one: TableClient) -> None:
    one.put("long", "x" * 300_000)
    assert one.get("long") == ["x" * 300_000]


def test_a_port_that_is_taken_is_a_mistake_in_the_settings(server: TableServer) -> None:
    with pytest.raises(SpecError, match="set KTRAIN_RDZV_PORT to a free one"):
        TableServer(Table(), HOST, server.port)


def test_one_that_is_gone_fails_from_then_on() -> None:
    server = TableServer(Table(), HOST, 0)
    one = client(server.port)
    server.close()
    for _ in range(2):
        with pytest.raises(OSError, match=r"closed|reset|Bad file|Broken pipe"):
            one.get("a")


def test_whoever_has_just_come_is_told_of_the_end_too() -> None:
    for _ in range(20):
        server = TableServer(Table(), HOST, 0)
        with ExitStack() as stack:
            there = [stack.enter_context(socket.create_connection((HOST, server.port), timeout=10)) for _ in range(20)]
            server.close()
            assert {rest(it)[len(GREETING) :] for it in there} == {b""}
            assert {rest(it) for it in there} == {b""}


def test_an_answer_that_never_comes_is_not_taken_for_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_client, "ANSWER_SECONDS", 0.05)
    with socket.create_server((HOST, 0)) as server:
        made = socket.create_connection(server.getsockname())
        accepted, _ = server.accept()
        one = TableClient(made)
        with pytest.raises(TimeoutError):
            one.get("a")
        with pytest.raises(OSError, match="Bad file"):
            one.get("a")
        accepted.close()


def test_somebody_else_at_the_address_is_told() -> None:
    with socket.create_server((HOST, 0)) as other, ThreadPoolExecutor(1) as pool:
        found = pool.submit(client, other.getsockname()[1])
        accepted, _ = other.accept()
        with accepted:
            accepted.sendall(b"220 mail.example.org ESMTP\r\n")
            with pytest.raises(PeerLostError, match="answers, but not as the launcher of node 0"):
                found.result(10)


def test_one_that_accepts_and_says_nothing_is_waited_for() -> None:
    notes: list[str] = []
    with socket.create_server((HOST, 0)) as other, ThreadPoolExecutor(1) as pool:
        port = other.getsockname()[1]
        found = pool.submit(connect, HOST, port, pause=lambda _seconds: len(notes) > 1, say=say, note=notes.append)
        for _ in range(2):
            other.accept()[0].close()
        assert found.result(10) is None
    assert (
        notes == [f"{HOST}:{port} was reached, but the launcher of node 0 says nothing (the connection was closed)"] * 2
    )


def test_words_are_lines_of_json(server: TableServer) -> None:
    """The wire, as it stays within a version."""
    with socket.create_connection((HOST, server.port), timeout=10) as made, made.makefile("rwb") as file:
        assert file.readline() == b"ktrain launcher, words 2\n"
        for word, answer in [(["put", "a", "1"], None), (["get", "a", "b"], ["1", None]), (["add", "n", 3], 3)]:
            file.write(json.dumps(word).encode() + b"\n")
            file.flush()
            assert json.loads(file.readline()) == answer
