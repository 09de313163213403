"""The pod's one HTTP server: /metrics, /healthz, /status."""

import contextlib
import json
import math
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socket import AF_INET, AF_INET6, IPPROTO_IPV6, IPV6_V6ONLY, has_dualstack_ipv6
from socketserver import TCPServer
from typing import Any, ClassVar, Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from ktrain.errors import SpecError
from ktrain_launcher.board import Board
from ktrain_launcher.metrics import Collector, Identity
from ktrain_launcher.tally import Tally

SILENT_SECONDS: Final = 60.0
"""A launcher whose agent has not come round for so long is not healthy; parked ones do come round."""


@dataclass(frozen=True, slots=True)
class Pages:
    """What the server answers, by path: status, content type, body."""

    identity: Identity
    board: Board
    tally: Tally

    def healthz(self) -> tuple[int, str, bytes]:
        """Whether the launcher itself is alive; what the ranks do is for /metrics."""
        if self.tally.age > SILENT_SECONDS:
            return HTTPStatus.SERVICE_UNAVAILABLE, "text/plain", f"silent for {self.tally.age:.0f} s\n".encode()
        return HTTPStatus.OK, "text/plain", b"ok\n"

    def metrics(self) -> tuple[int, str, bytes]:
        """Prometheus text."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(Collector(self.identity, self.board, self.tally))
        return HTTPStatus.OK, CONTENT_TYPE_LATEST, generate_latest(registry)

    def status(self) -> tuple[int, str, bytes]:
        """JSON for `ktrain run` and `ktrain status`."""
        document = {
            "node_rank": self.identity.node_rank,
            "attempt": self.identity.attempt,
            "epoch": self.tally.epoch,
            "run": self.tally.run,
            "state": self.tally.state,
            "restarts": sum(self.tally.restarts.values()),
            "world_size": self.tally.world_size,
            "note": self.tally.note,
            "answer": self.tally.answer,
            "ranks": self.board.as_documents(),
        }
        return HTTPStatus.OK, "application/json", json.dumps(_finite(document)).encode()


class Server:
    """Serves the pages from a thread of its own, on any free port when asked for port 0."""

    def __init__(self, pages: Pages, *, bind: str, port: int) -> None:
        routes: dict[str, Callable[[], tuple[int, str, bytes]]] = {
            "/metrics": pages.metrics,
            "/healthz": pages.healthz,
            "/status": pages.status,
        }
        handler = type("Handler", (_Handler,), {"routes": routes})
        is_dual = (not bind and has_dualstack_ipv6()) or ":" in bind
        server = type("HTTPServer", (_HTTPServer,), {"address_family": AF_INET6 if is_dual else AF_INET})
        try:
            self._server = server((bind, port), handler)
        except OSError as error:
            raise SpecError(
                f"port {port} for metrics cannot be bound ({error.strerror}); "
                "end the process that has it, or choose another with spec.metrics.port"
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
    routes: ClassVar[dict[str, Callable[[], tuple[int, str, bytes]]]] = {}
    timeout = 10  # a client that connects and says nothing must not keep a thread

    def do_GET(self) -> None:
        page = self.routes.get(self.path.partition("?")[0])
        status, kind, body = page() if page else (HTTPStatus.NOT_FOUND, "text/plain", b"/metrics /healthz /status\n")
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        with contextlib.suppress(ConnectionError):  # whoever asked waits no longer
            self.end_headers()
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  -- http.server's name
        """Scrapes are no events."""


def _finite(value: Any) -> Any:
    """JSON has no NaN: null instead."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    return [_finite(each) for each in value] if isinstance(value, list) else value
