"""Each fault is, for a plain HTTP client in front of a real S3 server, what it claims to be."""

import hashlib
import http.client
import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.config import Config

from ktrain.storage.s3 import S3Storage
from tests.faultproxy import (
    Fault,
    Rule,
    RunningProxy,
    Shape,
    answer,
    black_hole,
    conflict,
    error_after_body,
    expired_token,
    fault_proxy,
    half_close,
    lost_reply,
    reset,
    role_of,
    slow_down,
    stop,
)
from tests.seaweed import BUCKET, Seaweed

BODY = bytes(range(256)) * 4096  # a megabyte
NOTHING = (ConnectionError, http.client.RemoteDisconnected)


@pytest.fixture(scope="module")
def shared(weed: Seaweed) -> Iterator[RunningProxy]:
    with fault_proxy(weed.address) as proxy:
        yield proxy


@pytest.fixture
def proxy(shared: RunningProxy) -> RunningProxy:
    shared.obey()
    return shared


def signed(proxy: RunningProxy, method: str, key: str) -> str:
    """A path that any client may ask for; the signature covers the Host that the client sees."""
    client = boto3.client(
        "s3", endpoint_url=proxy.endpoint, region_name="us-east-1", config=Config(signature_version="s3v4")
    )
    call = {"PUT": "put_object", "GET": "get_object", "HEAD": "head_object", "DELETE": "delete_object"}[method]
    url = client.generate_presigned_url(call, Params={"Bucket": BUCKET, "Key": key}, HttpMethod=method)
    client.close()
    parts = urlsplit(url)
    return f"{parts.path}?{parts.query}"


def connect(proxy: RunningProxy, timeout: float = 30) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", proxy.port, timeout=timeout)


def ask(
    connection: http.client.HTTPConnection,
    proxy: RunningProxy,
    method: str,
    key: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> tuple[int, bytes]:
    connection.request(method, signed(proxy, method, key), body, headers or {})
    reply = connection.getresponse()
    return reply.status, reply.read()


def once(proxy: RunningProxy, method: str, key: str, body: bytes | None = None) -> tuple[int, bytes]:
    connection = connect(proxy)
    try:
        return ask(connection, proxy, method, key, body)
    finally:
        connection.close()


def test_all_kinds_of_replies_share_one_connection(proxy: RunningProxy) -> None:
    connection = connect(proxy)
    assert ask(connection, proxy, "PUT", "all", BODY)[0] == 200
    assert ask(connection, proxy, "HEAD", "all") == (200, b"")
    assert ask(connection, proxy, "GET", "all") == (200, BODY)
    etag = f'"{hashlib.md5(BODY).hexdigest()}"'
    assert ask(connection, proxy, "GET", "all", None, {"If-None-Match": etag}) == (304, b"")
    assert ask(connection, proxy, "DELETE", "all") == (204, b"")
    assert ask(connection, proxy, "HEAD", "all") == (404, b"")
    assert ask(connection, proxy, "GET", "all")[0] == 404
    connection.close()
    seen = [(it.method, it.status, it.bytes_in) for it in proxy.log]
    assert seen == [
        ("PUT", 200, len(BODY)), ("HEAD", 200, 0), ("GET", 200, 0), ("GET", 304, 0),
        ("DELETE", 204, 0), ("HEAD", 404, 0), ("GET", 404, 0),
    ]  # fmt: skip
    assert proxy.log[2].bytes_out == len(BODY)
    assert all(it.server_status == it.status and it.fault == "" for it in proxy.log)


def test_a_body_in_chunks_arrives(proxy: RunningProxy) -> None:
    connection = connect(proxy)
    pieces = iter([BODY[:1000], BODY[1000:300_000], BODY[300_000:]])
    connection.request("PUT", signed(proxy, "PUT", "chunks"), pieces, encode_chunked=True)
    assert connection.getresponse().status == 200
    connection.close()
    assert once(proxy, "GET", "chunks") == (200, BODY)


def test_a_client_that_asks_first_is_told_to_go_on(proxy: RunningProxy) -> None:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=30) as client:
        head = f"PUT {signed(proxy, 'PUT', 'asked')} HTTP/1.1\r\nHost: 127.0.0.1:{proxy.port}\r\n"
        client.sendall(f"{head}Content-Length: {len(BODY)}\r\nExpect: 100-continue\r\n\r\n".encode())
        assert client.recv(1000).startswith(b"HTTP/1.1 100 ")
        client.sendall(BODY)
        assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
    assert once(proxy, "GET", "asked") == (200, BODY)


def test_a_signed_client_works_through_it(proxy: RunningProxy) -> None:
    storage = S3Storage(BUCKET, "signed", endpoint=proxy.endpoint)
    tag = storage.create("a", BODY)
    assert storage.get("a") == (BODY, tag)
    assert storage.read("a", 300, 400) == BODY[300:400]
    storage.delete(["a"])
    assert list(storage.list()) == []
    assert {it.role for it in proxy.log} >= {"probe", "list", "delete"}


@pytest.mark.parametrize("at", ["head", "body", "reply"])
@pytest.mark.parametrize(
    ("status", "code"), [(503, "SlowDown"), (500, "InternalError"), (409, "ConditionalRequestConflict")]
)
def test_an_error_answer_is_s3s_own_and_applied_only_at_the_reply(
    proxy: RunningProxy, status: int, code: str, at: str
) -> None:
    key = f"answer-{status}-{at}"
    proxy.obey(Rule(Fault("answer", at, status, code), method="PUT"))  # type: ignore[arg-type]
    found, text = once(proxy, "PUT", key, BODY)
    assert found == status
    assert f"<Code>{code}</Code>".encode() in text
    assert proxy.log[0].fault == f"answer at {at}"
    assert once(proxy, "HEAD", key)[0] == (200 if at == "reply" else 404)


def test_an_error_for_head_has_no_body_and_the_connection_ends(proxy: RunningProxy) -> None:
    proxy.obey(Rule(slow_down(), method="HEAD"))
    assert once(proxy, "HEAD", "whatever") == (503, b"")


def test_the_short_names_are_what_they_say() -> None:
    assert (slow_down().status, error_after_body().at, conflict().status, expired_token().status) == (
        503, "body", 409, 403,
    )  # fmt: skip
    assert answer(507, "Full").at == "head"


def test_a_lost_reply_was_applied(proxy: RunningProxy) -> None:
    proxy.obey(Rule(lost_reply(), method="PUT"))
    with pytest.raises(NOTHING):
        once(proxy, "PUT", "lost", BODY)
    assert (proxy.log[0].status, proxy.log[0].server_status) == (0, 200)
    assert once(proxy, "GET", "lost") == (200, BODY)


@pytest.mark.parametrize("at", ["head", "body"])
def test_a_reset_before_the_end_of_a_request_leaves_nothing(proxy: RunningProxy, at: str) -> None:
    key = f"reset-{at}"
    proxy.obey(Rule(Fault("reset", at, after_bytes=300_000), method="PUT"))  # type: ignore[arg-type]
    with pytest.raises(ConnectionError):
        once(proxy, "PUT", key, BODY)
    assert proxy.log[0].bytes_in == (300_000 if at == "body" else 0)
    assert once(proxy, "HEAD", key)[0] == 404


def test_a_reset_is_a_reset_and_not_an_end(proxy: RunningProxy) -> None:
    once(proxy, "PUT", "torn", BODY)
    proxy.obey(Rule(reset("reply", after_bytes=100_000)))
    connection = connect(proxy)
    connection.request("GET", signed(proxy, "GET", "torn"))
    reply = connection.getresponse()
    with pytest.raises(ConnectionResetError):
        reply.read()
    connection.close()
    assert proxy.log[0].bytes_out == 100_000


def test_a_half_closed_connection_ends_too_soon_and_still_takes_bytes(proxy: RunningProxy) -> None:
    once(proxy, "PUT", "half", BODY)
    proxy.obey(Rule(half_close(after_bytes=100_000)))
    connection = connect(proxy)
    connection.request("GET", signed(proxy, "GET", "half"))
    sock = connection.sock
    reply = connection.getresponse()
    with pytest.raises(http.client.IncompleteRead) as caught:
        reply.read()
    assert caught.value.partial == BODY[:100_000]
    for _ in range(3):  # a closed or reset connection would refuse the second at the latest
        sock.sendall(b"x")
    connection.close()


def test_a_black_hole_takes_all_and_answers_nothing(proxy: RunningProxy) -> None:
    proxy.obey(Rule(black_hole()))
    connection = connect(proxy, timeout=0.3)
    with pytest.raises(TimeoutError):
        ask(connection, proxy, "PUT", "hole", BODY)
    connection.close()
    assert once(proxy, "HEAD", "hole")[0] == 404


def test_a_black_hole_may_end_with_a_reset(proxy: RunningProxy) -> None:
    proxy.obey(Rule(black_hole(0.05)))
    with pytest.raises(ConnectionResetError):
        once(proxy, "GET", "hole")


def test_a_delay_only_delays(proxy: RunningProxy) -> None:
    proxy.obey(Rule(Fault("delay", seconds=0.2)))
    began = time.monotonic()
    assert once(proxy, "PUT", "late", b"x")[0] == 200
    assert time.monotonic() - began > 0.2


@pytest.mark.parametrize(("at", "status"), [("head", 404), ("reply", 200)])
def test_after_a_stop_nothing_passes_on_any_connection(weed: Seaweed, at: str, status: int) -> None:
    said: list[str] = []
    with fault_proxy(weed.address, on_stop=lambda: said.append("stopped")) as proxy:
        key = f"stop-{at}"
        other = connect(proxy)
        assert ask(other, proxy, "GET", "nothing")[0] == 404
        proxy.obey(Rule(Fault("stop", at), method="PUT"))  # type: ignore[arg-type]
        with pytest.raises(NOTHING):
            once(proxy, "PUT", key, BODY)
        assert proxy.is_stopped
        assert said == ["stopped"]
        with pytest.raises(NOTHING):
            ask(other, proxy, "GET", "nothing")
        with pytest.raises(NOTHING):
            once(proxy, "GET", "nothing")
        other.close()
        proxy.obey()
        assert once(proxy, "HEAD", key)[0] == status


def test_a_rule_takes_the_requests_that_it_counts(proxy: RunningProxy) -> None:
    proxy.obey(
        Rule(slow_down(), method="PUT", key=r"/counted-\d$", skip=1, times=2),
        Rule(answer(507, "Full"), role="manifest", times=None),
    )
    found = [once(proxy, "PUT", key, b"x")[0] for key in ("counted-0", "other", *(f"counted-{n}" for n in range(1, 5)))]
    assert found == [200, 200, 503, 503, 200, 200]
    assert [once(proxy, "PUT", "a/manifest.json", b"x")[0] for _ in range(3)] == [507] * 3


@pytest.mark.parametrize(
    ("rule", "taken"),
    [
        (Rule(slow_down()), [0]),
        (Rule(slow_down(), skip=3, times=2), [3, 4]),
        (Rule(slow_down(), times=None, every=4), [0, 4, 8]),
        (Rule(slow_down(), skip=1, times=2, every=3), [1, 4]),
    ],
)
def test_a_rule_counts(rule: Rule, taken: list[int]) -> None:
    assert [nth for nth in range(10) if rule.takes(nth)] == taken


def test_requests_have_roles() -> None:
    known = {
        role_of("PUT", "bucket/run/.~probe-1"): "probe",
        role_of("GET", "bucket", "list-type=2&prefix=a"): "list",
        role_of("POST", "bucket", "delete"): "delete",
        role_of("DELETE", "bucket/a"): "delete",
        role_of("PUT", "bucket/run/a0001-e0001/step-1/0000-0001.bin"): "data",
        role_of("PUT", "bucket/run/a0001-e0001/step-1/manifest.json"): "manifest",
        role_of("GET", "bucket/run/HEAD"): "head",
        role_of("GET", "bucket/run/SURPRISE"): "other",
    }
    assert all(found == wanted for found, wanted in known.items())


def test_a_link_is_as_slow_as_it_is_shaped(weed: Seaweed) -> None:
    with fault_proxy(weed.address, shape=Shape(2e6, 0.1, burst_bytes=1000)) as proxy:
        for method, body in (("PUT", BODY), ("GET", None)):
            began = time.monotonic()
            assert once(proxy, method, "shaped", body)[0] == 200
            assert time.monotonic() - began > 0.1 + len(BODY) / 2e6 * 0.9


def test_a_server_that_is_gone_is_an_end_without_a_reply() -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        address = nobody.getsockname()
    with fault_proxy(address) as proxy, pytest.raises(NOTHING):
        once(proxy, "GET", "x")


def test_it_runs_as_a_program(weed: Seaweed, tmp_path: Path) -> None:
    log = tmp_path / "log"
    rule = json.dumps({"kind": "answer", "status": 503, "code": "SlowDown", "method": "PUT", "times": 1})
    command = [
        sys.executable, "-m", "tests.faultproxy", "--upstream", f"127.0.0.1:{weed.port}", "--rate", "50e6",
        "--delay", "0.01", "--rule", rule, "--log", str(log),
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[2]) as process:
        assert process.stdout
        storage = S3Storage(BUCKET, "program", endpoint=process.stdout.readline().strip())
        storage.put("a", BODY)
        assert storage.get("a")[0] == BODY
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == 0
    seen = [json.loads(line) for line in log.read_text().splitlines()]
    assert [(it["method"], it["status"]) for it in seen] == [("PUT", 503), ("PUT", 200), ("GET", 200)]


def test_stop_is_a_fault_like_others() -> None:
    assert stop("reply") == Fault("stop", "reply")
