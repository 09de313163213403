"""What only S3 has: lost replies, servers without conditions, and errors that quote no secrets."""

import itertools
import subprocess
import sys
from dataclasses import dataclass, field

import pytest

from ktrain.errors import Conflict, StorageError
from ktrain.storage import Storage, open_storage
from ktrain.storage.retry import Retry
from ktrain.storage.s3 import S3Storage
from tests.storage.s3server import BUCKET, Fault, S3Server

_prefixes = itertools.count()


@dataclass
class FakeTime:
    """A clock that only sleeping moves."""

    seconds: float = 0
    slept: list[float] = field(default_factory=list)

    def now(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.seconds += seconds


def connect(server: S3Server, *, bucket: str = BUCKET, time: FakeTime | None = None) -> S3Storage:
    time = time or FakeTime()
    retry = Retry(sleep=time.sleep, now=time.now, jitter=lambda: 1.0)
    return S3Storage(bucket, f"s3-{next(_prefixes)}", endpoint=server.endpoint, retry=retry)


@pytest.mark.parametrize("times", [1, 3])
@pytest.mark.parametrize("is_reset", [False, True], ids=["500", "reset"])
def test_a_create_whose_reply_was_lost_is_known_as_ours(s3: S3Server, times: int, is_reset: bool) -> None:
    storage = connect(s3)
    assert storage.is_fenced
    s3.faults = [Fault("PUT", times, is_applied=True, is_reset=is_reset)]
    tag = storage.create("a", b"mine")
    assert storage.get("a") == (b"mine", tag)


def test_a_replace_whose_reply_was_lost_is_known_as_ours(s3: S3Server) -> None:
    storage = connect(s3)
    old = storage.create("HEAD", b"1")
    s3.faults = [Fault("PUT", 1, is_applied=True)]
    tag = storage.replace("HEAD", b"2", tag=old)
    assert storage.get("HEAD") == (b"2", tag)


def test_a_lost_reply_does_not_make_anothers_write_ours(s3: S3Server) -> None:
    storage = connect(s3)
    storage.create("a", b"same")
    s3.faults = [Fault("PUT", 1)]
    with pytest.raises(Conflict):
        storage.create("a", b"same")


def test_a_write_in_doubt_to_the_end_is_looked_up(s3: S3Server) -> None:
    storage = connect(s3)
    assert storage.is_fenced
    s3.faults = [Fault("PUT", 1000, is_applied=True)]
    assert storage.create("a", b"mine") == storage.get("a")[1]


def test_an_overloaded_server_is_asked_again_with_growing_pauses(s3: S3Server) -> None:
    time = FakeTime()
    storage = connect(s3, time=time)
    storage.put("a", b"x")
    s3.faults = [Fault("GET", 4, status="503 Slow Down", code="SlowDown")]
    assert storage.get("a")[0] == b"x"
    assert time.slept == [0.1, 0.2, 0.4, 0.8]


def test_an_outage_ends_at_the_deadline(s3: S3Server) -> None:
    time = FakeTime()
    storage = connect(s3, time=time)
    storage.put("a", b"x")
    s3.faults = [Fault("GET", 1000, status="503 Slow Down", code="SlowDown")]
    with pytest.raises(StorageError, match="keeps answering SlowDown"):
        storage.get("a")
    assert 100 < time.seconds < 120


def test_a_conflict_of_simultaneous_writers_is_a_conflict(s3: S3Server) -> None:
    storage = connect(s3)
    tag = storage.create("HEAD", b"1")
    s3.faults = [Fault("PUT", 1000, status="409 Conflict", code="ConditionalRequestConflict")]
    with pytest.raises(Conflict):
        storage.replace("HEAD", b"2", tag=tag)


def test_a_server_without_conditions_is_found_out_and_looked_at_first(
    s3: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ktrain.storage.s3._fenced", {})
    s3.ignores_conditions = True
    storage = connect(s3)
    assert not storage.is_fenced
    old = storage.create("a", b"1")
    with pytest.raises(Conflict):
        storage.create("a", b"2")
    storage.replace("a", b"3", tag=old)
    with pytest.raises(Conflict):
        storage.replace("a", b"4", tag=old)
    assert [stat.key for stat in storage.list()] == ["a"]


def test_whether_conditions_hold_is_tried_once(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ktrain.storage.s3._fenced", {})
    connect(s3).create("a", b"1")
    s3.requests.clear()
    connect(s3).create("b", b"1")
    assert len(s3.requests) == 1


@pytest.mark.parametrize(
    ("status", "code", "sentence"),
    [
        ("403 Forbidden", "AccessDenied", "access denied"),
        ("400 Bad Request", "ExpiredToken", "credentials have expired"),
        ("403 Forbidden", "InvalidAccessKeyId", "does not know this access key"),
        ("403 Forbidden", "SignatureDoesNotMatch", "secret key does not fit"),
        ("403 Forbidden", "RequestTimeTooSkewed", "set the clock"),
        ("301 Moved", "PermanentRedirect", "another region"),
        ("507 Full", "XMinioStorageFull", "disk is full"),
        ("418 Teapot", "NeverHeardOf", "answered NeverHeardOf"),
    ],
)
def test_each_refusal_is_one_clear_sentence(s3: S3Server, status: str, code: str, sentence: str) -> None:
    storage = connect(s3)
    s3.faults = [Fault("GET", 1000, status=status, code=code)]
    with pytest.raises(StorageError, match=sentence) as caught:
        storage.get("some/key")
    assert f"s3://{BUCKET}/" in str(caught.value)
    assert "SECRET" not in str(caught.value).upper().replace("SECRET KEY", "").replace("STORAGE.SECRET", "").replace(
        "AWS_SECRET_ACCESS_KEY", ""
    )


def test_a_missing_bucket_is_named(s3: S3Server) -> None:
    with pytest.raises(StorageError, match=r"s3://nowhere/.*the bucket does not exist"):
        connect(s3, bucket="nowhere").put("a", b"x")


def test_an_unreachable_server_is_given_up_soon(s3: S3Server) -> None:
    time = FakeTime()
    retry = Retry(sleep=time.sleep, now=time.now, jitter=lambda: 1.0)
    with pytest.raises(StorageError, match=r"http://127.0.0.1:1 cannot be reached.*storage.endpoint"):
        S3Storage("b", endpoint="http://user:verysecret@127.0.0.1:1", retry=retry).get("a")
    assert time.seconds < 30


def test_missing_credentials_are_said(monkeypatch: pytest.MonkeyPatch, s3: S3Server) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    with pytest.raises(StorageError, match="no usable credentials"):
        connect(s3).get("a")


@pytest.mark.parametrize(
    ("url", "sentence"),
    [
        ("", "no storage URL"),
        ("gs://bucket/x", r"begins with gs://; expected s3://"),
        ("s3://", "names no bucket"),
        ("s3:///x", "names no bucket"),
        ("s3://key:verysecret@bucket/x", "credentials belong into storage.secret"),
        ("s3://bucket/../x", "cannot be a storage prefix"),
        ("file://host/x", "three slashes"),
        ("file://", "must be absolute"),
    ],
)
def test_a_url_that_is_none_is_explained(url: str, sentence: str) -> None:
    with pytest.raises(StorageError, match=sentence) as caught:
        open_storage(url)
    assert "verysecret" not in str(caught.value)


@pytest.mark.slow
def test_many_objects_are_listed_and_deleted_over_several_pages(s3: S3Server) -> None:
    storage: Storage = connect(s3)
    keys = [f"many/{n:04d}" for n in range(1050)]
    for key in keys:
        storage.put(key, b"")
    assert [stat.key for stat in storage.list("many/")] == keys
    storage.delete_folder("many")
    assert list(storage.list()) == []


def test_a_server_that_refuses_bulk_deletes_is_asked_for_each(s3: S3Server) -> None:
    storage = connect(s3)
    storage.put("a", b"")
    storage.put("b", b"")
    s3.faults = [Fault("POST", 1, status="400 Bad Request", code="MissingContentMD5")]
    storage.delete(["a", "b"])
    assert list(storage.list()) == []


def test_the_client_is_loaded_only_when_it_is_used() -> None:
    script = "import sys, ktrain.storage as s; s.open_storage('s3://b/p'); assert 'boto3' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)
