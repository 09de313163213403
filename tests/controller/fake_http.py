"""HTTP/1.1 as a fake API server needs it: requests in, whole or chunked answers out, one thread for each connection."""

import socket
import socketserver
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from tests.controller.fake_objects import encoded


@dataclass(frozen=True, slots=True)
class Request:
    """As it came."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str] = field(repr=False)
    body: bytes = field(repr=False)

    @property
    def is_watch(self) -> bool:
        return self.query.get("watch") in {"1", "true"}

    @property
    def selector(self) -> dict[str, str]:
        """Equality only."""
        parts = (part.replace("==", "=").partition("=") for part in self.query.get("labelSelector", "").split(","))
        return {name: value for name, _, value in parts if name}


class Out(Protocol):
    """Where answers go."""

    def whole(self, status: int, body: bytes, **extra: str) -> None:
        """An answer of known length."""

    def begin(self) -> None:
        """An answer that comes in parts."""

    def part(self, data: bytes) -> None:
        """Nothing is no part: it would be the end."""

    def end(self) -> None:
        """Of the parts."""


class Answers(socketserver.StreamRequestHandler):
    """One connection."""

    disable_nagle_algorithm = True
    server: "Server"

    def handle(self) -> None:
        try:
            while (request := self._read()) and self.server.serve(request, self):
                continue
        except OSError:  # the client has gone, as it may
            return

    def whole(self, status: int, body: bytes, **extra: str) -> None:
        length = {"Content-Length": str(len(body)), "Content-Type": "application/json"}
        self.wfile.write(self._head(status, length | extra) + body)

    def begin(self) -> None:
        self.wfile.write(self._head(200, {"Transfer-Encoding": "chunked", "Content-Type": "application/json"}))

    def part(self, data: bytes) -> None:
        if data:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))

    def end(self) -> None:
        self.wfile.write(b"0\r\n\r\n")

    def _head(self, status: int, headers: dict[str, str]) -> bytes:
        named = {"Date": formatdate(self.server.clock(), usegmt=True), **headers}
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}", *(f"{name}: {named[name]}" for name in named)]
        return "\r\n".join([*lines, "", ""]).encode()

    def _read(self) -> Request | None:
        first = self.rfile.readline().decode().split()
        if len(first) != 3:
            return None
        headers = dict(self._headers())
        url = urlsplit(first[1])
        body = self.rfile.read(int(headers.get("content-length", 0)))
        return Request(first[0], unquote(url.path), dict(parse_qsl(url.query)), headers, body)

    def _headers(self) -> Iterator[tuple[str, str]]:
        while line := self.rfile.readline().strip():
            name, _, value = line.decode().partition(":")
            yield name.lower(), value.strip()


class Server(socketserver.ThreadingTCPServer):
    """Gives each request to `serve`, which says whether its connection can take another one."""

    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, port: int, serve: Callable[[Request, Answers], bool], clock: Callable[[], float]) -> None:
        self.serve, self.clock = serve, clock
        self._open: set[Any] = set()
        super().__init__(("127.0.0.1", port), Answers)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """Breaks all connections."""
        for each in tuple(self._open):
            try:
                each.shutdown(socket.SHUT_RDWR)
            except OSError:  # its thread was quicker
                continue


def status(code: int, reason: str, message: str) -> bytes:
    """A Status object."""
    return encoded({"kind": "Status", "status": "Failure", "code": code, "reason": reason, "message": message})
