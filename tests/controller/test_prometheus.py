"""A query has one finite, fresh number or none with a reason, whatever the server does."""

import json
import re
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from ktrain.errors import SpecError, UnreachableError
from ktrain_controller import web
from ktrain_controller.prometheus import Answer, Prometheus

NOW = 1_800_000_000.0
JSON = "application/json"


def vector(*values: str, at: float = NOW) -> dict[str, Any]:
    return {
        "resultType": "vector",
        "result": [{"metric": {"n": str(n)}, "value": [at, v]} for n, v in enumerate(values)],
    }


def said(data: dict[str, Any], **more: Any) -> bytes:
    return json.dumps({"status": "success", "data": data, **more}).encode()


@dataclass
class Stub:
    """A server that gives what it was told to give, and keeps the queries."""

    status: int = 200
    kind: str = JSON
    body: bytes = b""
    location: str = ""
    sampled: bytes = b""  # the answer for timestamp(…)
    asked: list[dict[str, str]] = field(default_factory=list)
    port: int = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def ask(self, query: str = "q", **more: Any) -> Answer:
        return Prometheus(f"{self.url}/prefix/").ask(query, NOW, **more)


def handler(stub: Stub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        wbufsize = 65536

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            assert parts.path == "/prefix/api/v1/query"
            stub.asked.append({key: values[0] for key, values in parse_qs(parts.query).items()})
            body = stub.sampled if stub.asked[-1]["query"].startswith("timestamp(") else stub.body
            self.send_response(stub.status)
            self.send_header("Content-Type", stub.kind)
            self.send_header("Location", stub.location)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  -- http.server's name
            """Quiet."""

    return Handler


@pytest.fixture
def stub() -> Iterator[Stub]:
    made = Stub()
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler(made))
    made.port = server.server_port
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def raw() -> Iterator[Callable[[Callable[[socket.socket], None]], int]]:
    """A server of bytes: what it does with a connection comes from the test."""
    listeners: list[socket.socket] = []

    def serve(talk: Callable[[socket.socket], None]) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        listeners.append(listener)
        threading.Thread(target=accept, args=(listener, talk), daemon=True).start()
        return int(listener.getsockname()[1])

    def accept(listener: socket.socket, talk: Callable[[socket.socket], None]) -> None:
        try:
            client = listener.accept()[0]
            with client:
                client.recv(65536)
                talk(client)
        except OSError:
            return

    yield serve
    for listener in listeners:
        listener.close()


@pytest.mark.parametrize(
    ("text", "value"),
    [("4", 4.0), ("-0.5", -0.5), ("1e3", 1000.0), ("0", 0.0)],
    ids=["whole", "negative", "exp", "zero"],
)
def test_one_series_is_its_value(stub: Stub, text: str, value: float) -> None:
    stub.body = said(vector(text))
    assert stub.ask() == Answer(value)


def test_a_scalar_is_its_value(stub: Stub) -> None:
    stub.body = said({"resultType": "scalar", "result": [NOW, "3"]})
    assert stub.ask(max_age=45) == Answer(3.0)
    assert len(stub.asked) == 1


def test_the_words_of_a_real_server_are_understood(stub: Stub) -> None:
    """Prometheus 2.42's, of a gauge with a timestamp of its own, 100 s old."""
    stub.body = (
        b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"old",'
        b'"instance":"127.0.0.1:19555","job":"x"},"value":[1800000000.412,"3"]}]}}'
    )
    stub.sampled = (
        b'{"status":"success","data":{"resultType":"vector","result":[{"metric":{"instance":"127.0.0.1:19555",'
        b'"job":"x"},"value":[1800000000.401,"1799999900.915"]}]}}'
    )
    assert stub.ask("old") == Answer(3.0)
    assert_says(stub.ask("old", max_age=45), "99 s old")
    stub.status = 400
    stub.body = b'{"status":"error","errorType":"bad_data","error":"invalid parameter \\"query\\": 1:3: parse error"}'
    assert_says(stub.ask("a{"), 'HTTP 400: invalid parameter "query": 1:3: parse error')


MANY = said(vector("1", "2"))
HISTOGRAM = said({"resultType": "vector", "result": [{"metric": {}, "histogram": [NOW, {"count": "1"}]}]})


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (said(vector()), "no series"),
        (MANY, "2 series; aggregate them to one"),
        (said(vector("NaN")), "nan, no finite number"),
        (said(vector("+Inf")), "inf, no finite number"),
        (said(vector("-Inf")), "-inf, no finite number"),
        (said(vector("many")), "'many', no number"),
        (said(vector("1", at=NOW - 600)), r"\+600 s ago by our clock"),
        (said(vector("1", at=NOW + 600)), "-600 s ago by our clock"),
        (said({"resultType": "matrix", "result": []}), "a matrix, not one value"),
        (said({"resultType": "string", "result": [NOW, "x"]}), "a string, not one value"),
        (HISTOGRAM, "a histogram"),
        (said(vector("1"), warnings=["remote read failed"]), "a part only: remote read failed"),
        (b'{"status":"error","error":"boom"}', "failed: boom"),
        (b'{"status":"success"}', "does not say why"),
        (b"{", "not what a Prometheus says"),
        (b"", "not what a Prometheus says"),
        (b"[]", "not what a Prometheus says"),
        (b"null", "not what a Prometheus says"),
        (b'"\xff"', "not what a Prometheus says"),
        (b'{"status":1}', "not what a Prometheus says"),
        (said({"resultType": "vector", "result": {}}), "not what a Prometheus says"),
        (said({"resultType": "scalar", "result": [None, None]}), "not what a Prometheus says"),
        (b'{"status":"success","data":{"resultType":"vector","result":' + b"[" * 200_000, "not what a Prometheus says"),
        (b'{"status":"success","x":"' + b"x" * (2 << 20) + b'"}', "more than 1048576 bytes"),
    ],
    ids=[
        "empty", "several", "nan", "inf", "minus-inf", "word", "old-answer", "future", "matrix", "string", "histogram",
        "warning", "error", "no-data", "cut", "nothing", "list", "null", "no-utf8", "number", "object", "nulls",
        "deep", "large",
    ],
)  # fmt: skip
def test_everything_else_is_no_value_and_says_why(stub: Stub, body: bytes, why: str) -> None:
    stub.body = body
    assert_says(stub.ask(), why)


def assert_says(answer: Answer, why: str) -> None:
    assert answer.value is None
    assert re.search(why, answer.why), answer.why


@pytest.mark.parametrize(
    ("status", "kind", "body", "why"),
    [
        (200, "text/html", b"<html>Sign in</html>", "text/html, not JSON"),
        (503, JSON, b'{"status":"error","error":"starting up"}', "HTTP 503: starting up"),
        (503, "text/plain", b"Service Unavailable", "HTTP 503$"),
        (400, JSON, b'{"error":{}}', "HTTP 400$"),
        (400, JSON, b"[" * 100_000, "HTTP 400$"),
        (401, "text/plain", b"", "HTTP 401$"),
        (204, JSON, b"", "not what a Prometheus says"),
    ],
    ids=["html", "unready", "503", "odd-error", "deep-error", "login", "no-content"],
)
def test_a_bad_page_is_no_value(stub: Stub, status: int, kind: str, body: bytes, why: str) -> None:
    stub.status, stub.kind, stub.body = status, kind, body
    assert_says(stub.ask(), why)


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(stub: Stub, status: int) -> None:
    stub.status, stub.location = status, "http://169.254.169.254/latest/meta-data"
    assert_says(stub.ask(), "redirects to http://169.254.169.254/latest/meta-data, which is not followed")
    assert len(stub.asked) == 1


def test_a_sample_that_is_too_old_is_no_value(stub: Stub) -> None:
    stub.body, stub.sampled = said(vector("5")), said(vector(str(NOW - 46)))
    assert_says(stub.ask(max_age=45), "the value is stale, 46 s old, and 45 s are allowed")
    stub.sampled = said(vector(str(NOW - 44)))
    assert stub.ask(max_age=45) == Answer(5.0)


def test_a_sample_whose_age_is_not_known_is_no_value(stub: Stub) -> None:
    stub.body, stub.sampled = said(vector("5")), said(vector())
    assert_says(stub.ask(max_age=45), "the value's age is not known: the query has no series")


def test_the_query_is_asked_as_it_is(stub: Stub) -> None:
    stub.body, stub.sampled = said(vector("5")), said(vector(str(NOW)))
    query = 'sum(a{b="c&d=é"}) # why'
    assert stub.ask(query, max_age=45) == Answer(5.0)
    first, second = stub.asked
    assert first == {"query": query, "timeout": "5.000", "lookback_delta": "45.000"}
    assert second["query"] == f"timestamp((\n{query}\n))"


def test_nobody_at_home_is_no_value() -> None:
    assert_says(Prometheus("http://127.0.0.1:1").ask("q", NOW), "Connection refused")


def test_a_name_that_nobody_knows_is_no_value() -> None:
    assert Prometheus("http://nobody.invalid:9090").ask("q", NOW).value is None


def drip(client: socket.socket) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\n")
    for _ in range(200):
        client.sendall(b"X: y\r\n")
        time.sleep(0.05)


def drip_body(client: socket.socket) -> None:
    client.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 500\r\n\r\n")
    for _ in range(200):
        client.sendall(b" ")
        time.sleep(0.05)


@pytest.mark.parametrize("talk", [drip, drip_body, lambda _client: time.sleep(3)], ids=["headers", "body", "silence"])
def test_the_deadline_counts_for_the_whole_answer(
    raw: Callable[[Callable[[socket.socket], None]], int], talk: Callable[[socket.socket], None]
) -> None:
    began = time.monotonic()
    answer = Prometheus(f"http://127.0.0.1:{raw(talk)}", timeout=0.3).ask("q", NOW)
    assert_says(answer, "no whole answer within 0.3 s")
    assert time.monotonic() - began < 1.5


@pytest.mark.parametrize("head", ["Content-Length: 100000000", "Transfer-Encoding: chunked", "X: y"])
def test_a_hundred_megabytes_are_not_read(raw: Callable[[Callable[[socket.socket], None]], int], head: str) -> None:
    sent: list[int] = []
    ended = threading.Event()

    def flood(client: socket.socket) -> None:
        client.sendall(f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n{head}\r\n\r\n".encode())
        client.sendall(b"5F5E100\r\n")
        try:
            for _ in range(1600):
                sent.append(client.send(b" " * 65536))
        finally:
            ended.set()

    assert_says(Prometheus(f"http://127.0.0.1:{raw(flood)}").ask("q", NOW), "the answer has .*bytes")
    assert ended.wait(5)
    assert sum(sent) < 20 << 20


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x00\x01\x02\xff" * 100,
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 200 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100_000,
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 99\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: -5\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Type: \xff;;==\r\n\r\n{}",
        b"HTTP/1.1 999 \xff\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\n" * 50,
    ],
    ids=["nothing", "binary", "status", "headers", "line", "short", "negative", "chunk", "type", "999", "continue"],
)
def test_bytes_that_are_no_http_are_no_value(
    raw: Callable[[Callable[[socket.socket], None]], int], data: bytes
) -> None:
    answer = Prometheus(f"http://127.0.0.1:{raw(lambda client: client.sendall(data))}").ask("q", NOW)
    assert answer.value is None
    assert answer.why.startswith("Prometheus at http://127.0.0.1:")


def test_a_server_that_speaks_no_tls_is_no_value(stub: Stub) -> None:
    assert_says(Prometheus(f"https://127.0.0.1:{stub.port}").ask("q", NOW), "(?i)ssl")


@pytest.mark.parametrize(
    "url",
    [
        "ftp://host", "file:///etc/passwd", "prometheus:9090", "", "http://", "http://u:p@host", "http://u@host",
        "http://host:port", "http://host:99999", "http://[::1", "http://host/?x=1", "http://host/#x",
    ],
)  # fmt: skip
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(SpecError, match="Prometheus"):
        Prometheus(url)


@pytest.mark.parametrize(
    "host",
    ["169.254.169.254", "[::ffff:169.254.169.254]", "[fd00:ec2::254]", "[fe80::1]", "100.100.100.200", "2852039166"],
)
def test_the_clouds_own_addresses_are_never_asked(host: str) -> None:
    answer = Prometheus(f"http://{host}", timeout=0.5).ask("q", NOW)
    assert_says(answer, "the cloud's or the node's own, which is never asked")


def test_an_answer_that_breaks_off_is_noticed(raw: Callable[[Callable[[socket.socket], None]], int]) -> None:
    port = raw(lambda client: client.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n{}"))
    with pytest.raises(UnreachableError, match="breaks off 1 bytes before its end"):
        web.get(web.Address("127.0.0.1", port), "/", seconds=5, max_bytes=10)
