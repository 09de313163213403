"""Asking launchers that come and go."""

import socket
from threading import Thread

import pytest

from ktrain.local.status import Asker
from ktrain.picture import merge

BEGUN = b'HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n{"state":'


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200 OK\r\nContent-Le", BEGUN], ids=["nothing", "head", "body"])
def test_a_launcher_that_ends_in_the_middle_of_its_answer_is_left_out(said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(said)

        thread = Thread(target=answer)
        thread.start()
        assert Asker([server.getsockname()[1]]).ask() == merge([])
        thread.join()
