"""A connection to a machine that has gone ends by itself."""

import socket

from ktrain_launcher import wires
from ktrain_launcher.stores import connect_store, host_store


def test_a_connection_asks_whether_its_other_end_is_there() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as made:
        assert wires.guard(server.getsockname()[1]) == 1
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == wires.EVERY_SECONDS
        assert made.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == wires.TIMES


def test_what_goes_elsewhere_is_left_alone() -> None:
    assert wires.guard(1) == 0


def test_torchs_store_is_found_and_works_on() -> None:
    server = host_store("127.0.0.1", 0)
    said: list[str] = []

    def say(word: str, **_fields: object) -> None:
        said.append(word)

    store = connect_store("127.0.0.1", server.port, pause=lambda _seconds: False, say=say, note=said.append)
    assert store is not None
    store.set("a", "b")
    assert store.get("a") == b"b"
    assert "unguarded" not in said
