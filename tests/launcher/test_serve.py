"""Pages are compressed for whoever takes it, which Prometheus does: of 10,000 jobs they would be 4.3 MB each time."""

import gzip
import urllib.request
from collections.abc import Iterator
from http.client import HTTPResponse

import pytest

from ktrain.serve import Server

LARGE = b"".join(b'ktrain_job_state{ktrain_job="job-%d",state="running"} 1\n' % number for number in range(10_000))
SMALL = b"ok\n"


@pytest.fixture
def url() -> Iterator[str]:
    pages = {"/large": lambda: (200, "text/plain", LARGE), "/small": lambda: (200, "text/plain", SMALL)}
    server = Server(pages, bind="127.0.0.1", port=0, setting="--port")
    yield f"http://127.0.0.1:{server.port}"
    server.close()


def get(url: str, **headers: str) -> tuple[HTTPResponse, bytes]:
    words = {name.replace("_", "-"): value for name, value in headers.items()}
    with urllib.request.urlopen(urllib.request.Request(url, headers=words), timeout=5) as answer:
        return answer, answer.read()


@pytest.mark.parametrize("told", ["gzip", "deflate, gzip;q=1.0, *;q=0.5", "GZIP;q=0.5"])
def test_who_takes_gzip_gets_it(url: str, told: str) -> None:
    answer, body = get(f"{url}/large", Accept_Encoding=told)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert answer.headers["Content-Type"] == "text/plain"
    assert int(answer.headers["Content-Length"]) == len(body) < len(LARGE) / 5
    assert gzip.decompress(body) == LARGE


@pytest.mark.parametrize("told", ["identity", "gzip;q=0", "gzip; q=0.00, deflate", "xgzip", ""])
def test_who_does_not_gets_it_as_it_is(url: str, told: str) -> None:
    answer, body = get(f"{url}/large", Accept_Encoding=told)
    assert "Content-Encoding" not in answer.headers
    assert body == LARGE


def test_what_fits_into_a_packet_stays_as_it_is(url: str) -> None:
    answer, body = get(f"{url}/small", Accept_Encoding="gzip")
    assert "Content-Encoding" not in answer.headers
    assert body == SMALL
