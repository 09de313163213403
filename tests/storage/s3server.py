"""A real HTTP server that speaks S3, one request at a time, with faults on demand."""

import socket
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import boto3
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

Environ = dict[str, Any]
Respond = Callable[..., Any]
BUCKET = "bucket"


@dataclass
class Fault:
    """What happens to `times` requests of a method, after the first `skip`: refused before, or the reply lost after."""

    method: str
    times: int = 1
    status: str = "500 Internal Server Error"
    code: str = "InternalError"
    is_applied: bool = False  # the server does it, and the client does not hear of it
    is_reset: bool = False  # the connection breaks instead of a reply
    skip: int = 0

    def takes(self, method: str) -> bool:
        """Whether it happens to this request; counts those that it skips."""
        if method != self.method or not self.times:
            return False
        self.skip -= 1
        return self.skip < 0


@dataclass
class S3Server:
    """The server's address, and the faults that are to come."""

    endpoint: str = ""
    faults: list[Fault] = field(default_factory=list)
    ignores_conditions: bool = False
    requests: list[str] = field(default_factory=list)
    agents: list[str] = field(default_factory=list)  # which client sent each of them

    def wrap(self, app: Callable[[Environ, Respond], Iterable[bytes]]) -> Callable[[Environ, Respond], Iterable[bytes]]:
        """The application with faults."""

        def faulty(environ: Environ, respond: Respond) -> Iterable[bytes]:
            self.requests.append(f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}")
            self.agents.append(environ.get("HTTP_USER_AGENT", ""))
            if self.ignores_conditions:
                environ.pop("HTTP_IF_MATCH", None)
                environ.pop("HTTP_IF_NONE_MATCH", None)
            fault = next((it for it in self.faults if it.takes(environ["REQUEST_METHOD"])), None)
            return self._fail(fault, app, environ, respond) if fault else app(environ, respond)

        return faulty

    def _fail(self, fault: Fault, app: Any, environ: Environ, respond: Respond) -> Iterable[bytes]:
        fault.times -= 1
        if fault.is_applied:
            list(app(environ, lambda *_, **__: None))
        else:
            environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if fault.is_reset:
            environ["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        respond(fault.status, [("Content-Type", "application/xml")])
        return [f"<Error><Code>{fault.code}</Code><Message>AKIAVERYSECRET</Message></Error>".encode()]


@contextmanager
def s3_server() -> Iterator[S3Server]:
    """A server with one empty bucket; conditions are atomic, as it serves one request after the other."""
    server = S3Server()
    http = make_server("127.0.0.1", 0, server.wrap(DomainDispatcherApplication(create_backend_app)), threaded=False)
    server.endpoint = f"http://127.0.0.1:{http.server_port}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        client = boto3.client("s3", endpoint_url=server.endpoint, region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        client.close()
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
