"""A connection to a machine that has gone ends by itself."""

import socket

from ktrain_launcher import wires
from ktrain_launcher.table import Table
from ktrain_launcher.table_client import TableClient
from ktrain_launcher.table_server import TableServer


def asks(made: socket.socket) -> bool:
    """Whether its kernel asks for a sign of life."""
    return (
        bool(made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE))
        and made.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL) == wires.EVERY_SECONDS
        and made.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT) == wires.TIMES
    )


def test_a_launcher_asks_whether_node_0_is_there() -> None:
    server = TableServer(Table(), "127.0.0.1", 0)
    with socket.create_connection(("127.0.0.1", server.port)) as made:
        assert not asks(made)
        TableClient(made)
        assert asks(made)
    server.close()


def test_a_listener_listens_at_every_address_unless_told() -> None:
    with wires.listen("", 0) as made, socket.create_connection(("127.0.0.1", made.getsockname()[1])) as other:
        assert other.getpeername()[1] == made.getsockname()[1]
    with wires.listen("127.0.0.1", 0) as made:
        assert made.getsockname()[0] == "127.0.0.1"
