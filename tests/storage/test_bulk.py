"""Large bodies: by either client the same answers, and whatever goes wrong with the native one is settled by boto3."""

import itertools

import pytest

from ktrain.errors import Conflict, NotFound, ShortRead, StorageError
from ktrain.storage.retry import Retry
from ktrain.storage.s3 import S3Storage
from ktrain.storage.s3bulk import LEAST_BYTES
from tests.storage.s3server import BUCKET, Fault, S3Server

_prefixes = itertools.count()
LARGE = bytes(range(256)) * (3 * LEAST_BYTES // 256)


@pytest.fixture(params=[True, False], ids=["native", "boto3"])
def storage(request: pytest.FixtureRequest, s3: S3Server) -> S3Storage:
    retry = Retry(sleep=lambda _: None)
    return S3Storage(BUCKET, f"bulk-{next(_prefixes)}", endpoint=s3.endpoint, retry=retry, native=request.param)


@pytest.fixture
def native(s3: S3Server) -> S3Storage:
    retry = Retry(sleep=lambda _: None)
    return S3Storage(BUCKET, f"bulk-{next(_prefixes)}", endpoint=s3.endpoint, retry=retry)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_what_was_written_is_read(storage: S3Storage, kind: type) -> None:
    tag = storage.create("a", kind(LARGE))
    data, seen = storage.get("a")
    assert (data, seen) == (LARGE, tag)
    assert bytes(storage.read("a", 5, 5 + 2 * LEAST_BYTES)) == LARGE[5 : 5 + 2 * LEAST_BYTES]


def test_large_bodies_go_through_the_native_client(native: S3Storage, s3: S3Server) -> None:
    native.create("a", LARGE)
    native.read("a", 0, LEAST_BYTES)
    native.create("small", b"1")
    of = dict(zip(s3.requests, s3.agents, strict=True))
    path = f"/{BUCKET}/{native.url.rpartition('/')[2]}"
    assert of[f"PUT {path}/a"].startswith("object_store/")
    assert of[f"GET {path}/a"].startswith("object_store/")
    assert of[f"PUT {path}/small"].startswith("Boto3/")


def test_an_endpoint_from_the_environment_is_the_native_clients_too(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3.endpoint)
    storage = S3Storage(BUCKET, f"bulk-{next(_prefixes)}", retry=Retry(sleep=lambda _: None))
    storage.create("a", LARGE)
    assert storage.get("a")[0] == LARGE
    sent = [agent for request, agent in zip(s3.requests, s3.agents, strict=True) if request.startswith("PUT")]
    assert sent[-1].startswith("object_store/")


def test_what_exists_is_not_created_again(storage: S3Storage) -> None:
    storage.create("a", LARGE)
    with pytest.raises(Conflict, match="exists already"):
        storage.create("a", LARGE[::-1])
    assert storage.get("a")[0] == LARGE


def test_an_object_that_is_missing_or_short_is_told(storage: S3Storage) -> None:
    with pytest.raises(NotFound):
        storage.read("a", 0, LEAST_BYTES)
    storage.create("a", LARGE)
    with pytest.raises(ShortRead):
        storage.read("a", LEAST_BYTES, len(LARGE) + 1)
    with pytest.raises(ShortRead):
        storage.read("a", len(LARGE) + 1, len(LARGE) + 1 + LEAST_BYTES)


@pytest.mark.parametrize("is_reset", [False, True], ids=["500", "reset"])
@pytest.mark.parametrize("is_applied", [False, True])
@pytest.mark.parametrize("times", [1, 2])
def test_a_create_in_doubt_is_looked_up(
    storage: S3Storage, s3: S3Server, is_reset: bool, is_applied: bool, times: int
) -> None:
    assert storage.is_fenced
    s3.faults = [Fault("PUT", times, is_applied=is_applied, is_reset=is_reset)]
    tag = storage.create("a", LARGE)
    assert storage.get("a") == (LARGE, tag)


def test_a_lost_reply_does_not_make_anothers_write_ours(storage: S3Storage, s3: S3Server) -> None:
    storage.create("a", LARGE)
    s3.faults = [Fault("PUT", 1)]
    with pytest.raises(Conflict):
        storage.create("a", LARGE)


def test_a_read_is_tried_again(storage: S3Storage, s3: S3Server) -> None:
    storage.create("a", LARGE)
    s3.faults = [Fault("GET", 2, is_reset=True)]
    assert bytes(storage.read("a", 0, len(LARGE))) == LARGE


def test_credentials_that_are_refused_are_told_without_them(
    storage: S3Storage, s3: S3Server, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG", "ktrain")
    s3.faults = [Fault("PUT", 9, status="403 Forbidden", code="AccessDenied")]
    with pytest.raises(StorageError, match="access denied") as caught:
        storage.put("a", LARGE)
    assert "AKIAVERYSECRET" not in f"{caught.value}{caplog.text}"
