"""A small HTTP server for a program's own pages: /metrics, /healthz and the like."""

import contextlib
import gzip
import re
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET, AF_INET6, IPPROTO_IPV6, IPV6_V6ONLY, has_dualstack_ipv6
from socketserver import TCPServer
from typing import ClassVar, Final

from ktrain.errors import SpecError

Page = Callable[[], tuple[int, str, bytes]]
"""Status, content type, body."""

_WORTH_BYTES: Final = 1024  # a smaller page fits into a packet as it is
_NOT_AT_ALL: Final = re.compile(r"\s*q=0(\.0*)?\s*")


class Server:
    """Serves the pages, by path, from a thread of its own; on any free port when asked for port 0.

    SpecError when the port is taken; `setting` says where another one is chosen.
    """

    def __init__(self, routes: Mapping[str, Page], *, bind: str, port: int, setting: str) -> None:
        handler = type("Handler", (_Handler,), {"routes": dict(routes)})
        is_dual = (not bind and has_dualstack_ipv6()) or ":" in bind
        server = type("HTTPServer", (_HTTPServer,), {"address_family": AF_INET6 if is_dual else AF_INET})
        try:
            self._server = server((bind, port), handler)
        except OSError as error:
            raise SpecError(
                f"port {port} for metrics cannot be bound ({error.strerror}); "
                f"end the process that has it, or choose another with {setting}"
            ) from error
        self.port: int = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="http", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Answers nothing more."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _HTTPServer(ThreadingHTTPServer):
    daemon_threads = True

    def server_bind(self) -> None:
        if self.address_family == AF_INET6 and not self.server_address[0]:
            self.socket.setsockopt(IPPROTO_IPV6, IPV6_V6ONLY, 0)
        TCPServer.server_bind(self)  # not HTTPServer's, which looks this host's name up in DNS


class _Handler(BaseHTTPRequestHandler):
    routes: ClassVar[dict[str, Page]] = {}
    timeout = 10  # a client that connects and says nothing must not keep a thread

    def do_GET(self) -> None:
        page = self.routes.get(self.path.partition("?")[0])
        here = f"{' '.join(self.routes)}\n".encode()
        status, kind, body = page() if page else (HTTPStatus.NOT_FOUND, "text/plain", here)
        is_packed = len(body) >= _WORTH_BYTES and _takes_gzip(self.headers.get("Accept-Encoding", ""))
        if is_packed:
            # Without the interpreter's lock, 15 ms for the page of 10,000 jobs; a higher level would gain next to nothing.
            body = gzip.compress(body, 1, mtime=0)
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        if is_packed:
            self.send_header("Content-Encoding", "gzip")
        with contextlib.suppress(ConnectionError):  # whoever asked waits no longer
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  -- http.server's name
        """Scrapes are no events."""


def _takes_gzip(told: str) -> bool:
    """`gzip;q=0` is a no."""
    offers = (it.partition(";") for it in told.lower().split(","))
    return any(coding.strip() == "gzip" and not _NOT_AT_ALL.fullmatch(weight) for coding, _, weight in offers)
