"""Objects in an S3 bucket."""

import os
import threading
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from functools import partial
from itertools import islice
from typing import Any, Final, Self, TypeVar
from urllib.parse import unquote, urlsplit

from ktrain.errors import Conflict, NotFound, ShortRead, StorageError
from ktrain.storage.base import Data, Stat
from ktrain.storage.keys import RESERVED, check_folder, check_key, check_prefix
from ktrain.storage.retry import Retry
from ktrain.storage.s3bulk import LEAST_BYTES
from ktrain.storage.s3client import Body, Clients, connect
from ktrain.storage.s3errors import UnsupportedError
from ktrain.storage.s3requests import Requests

T = TypeVar("T")
_WRITE_MARK: Final = "ktrain-write"  # metadata that tells our own write from another's
_DELETE_BATCH: Final = 1000
_fenced: dict[tuple[str, str], bool] = {}  # by endpoint and bucket: probed once in a process
_fenced_lock: Final = threading.Lock()


class S3Storage:
    """A prefix of a bucket as storage."""

    def __init__(
        self,
        bucket: str,
        prefix: str = "",
        *,
        endpoint: str | None = None,
        region: str | None = None,
        ca_bundle: str | None = None,
        retry: Retry | None = None,
        native: bool = True,
    ) -> None:
        """native: large bodies through obstore, where it is installed."""
        self._bucket, self._prefix = bucket, check_folder(prefix)
        self._endpoint, self._region, self._ca_bundle = endpoint, region, ca_bundle
        self._retry, self._native = retry or Retry(), native
        self._lock = threading.Lock()
        self._made: tuple[Clients, Requests] | None = None
        self._made_by = 0  # process id

    @classmethod
    def from_url(cls, url: str, *, endpoint: str | None, region: str | None, ca_bundle: str | None) -> Self:
        """From s3://bucket/prefix."""
        parts = urlsplit(url)
        if "@" in parts.netloc or parts.query or parts.fragment:
            raise StorageError(
                "an S3 URL is s3://bucket/prefix; credentials belong into storage.secret, not into the URL"
            )
        if not parts.netloc:
            raise StorageError(f"{url} names no bucket; write s3://bucket/prefix")
        prefix = unquote(parts.path).strip("/")
        return cls(parts.netloc, prefix, endpoint=endpoint, region=region, ca_bundle=ca_bundle)

    @property
    def url(self) -> str:
        """As in the job file."""
        return f"s3://{self._bucket}/{self._prefix}".rstrip("/")

    @property
    def is_fenced(self) -> bool:
        """Whether this server honours If-Match and If-None-Match; tried out once per process."""
        place = (self._endpoint or "", self._bucket)
        with _fenced_lock:
            if place not in _fenced:
                _fenced[place] = self._probe()
            return _fenced[place]

    def put(self, key: str, data: Data) -> str:
        """Writes the whole object."""
        return self._write("write", check_key(key), data, {})

    def create(self, key: str, data: Data) -> str:
        """Like put, but raises Conflict when the key exists; where the server cannot, looks first."""
        if check_key(key) and self.is_fenced:
            return self._write("create", key, data, {"IfNoneMatch": "*"})
        if self.stat(key):
            raise Conflict(f"{self._where(key)}: exists already")
        return self.put(key, data)

    def replace(self, key: str, data: Data, *, tag: str) -> str:
        """Like put, but raises Conflict unless the object still has this tag; where the server cannot, looks first."""
        if check_key(key) and self.is_fenced:
            try:
                return self._write("replace", key, data, {"IfMatch": tag})
            except NotFound as error:
                raise Conflict(f"{self._where(key)}: deleted by another writer") from error
        seen = self.stat(key)
        if seen is None or seen.tag != tag:
            raise Conflict(f"{self._where(key)}: changed by another writer")
        return self.put(key, data)

    def get(self, key: str) -> tuple[bytes, str]:
        """The whole object and its tag."""
        place = self._place(check_key(key))

        def get() -> tuple[bytes, str]:
            answer = self._client.get_object(**place)
            return answer["Body"].read(), answer["ETag"]

        return self._call("read", key, get)

    def read(self, key: str, begin: int, end: int) -> Data:
        """Bytes [begin, end) of the object."""
        place = self._place(check_key(key))
        bulk = self._clients.bulk if end - begin >= LEAST_BYTES else None

        def read() -> Data:
            answer = self._client.get_object(**place, Range=f"bytes={begin}-{end - 1}")
            data: bytes = answer["Body"].read()
            is_whole = answer["ResponseMetadata"]["HTTPStatusCode"] == 200  # the server ignored the range
            return data[begin:end] if is_whole else data

        first = partial(bulk.read, place["Key"], begin, end) if bulk else None
        data = self._call("read", key, read, first=first) if begin < end else b""
        if len(data) != end - begin:
            raise ShortRead(f"{self._where(key)}: {len(data)} bytes where bytes {begin} to {end} were expected")
        return data

    def stat(self, key: str) -> Stat | None:
        """The object's size and tag, None when there is none."""
        answer = self._head(check_key(key))
        return Stat(key, answer["ContentLength"], answer["ETag"], answer["LastModified"]) if answer else None

    def list(self, prefix: str = "") -> Iterator[Stat]:
        """All objects whose key begins with prefix, in key order."""
        for page in self._pages(self._prefix + check_prefix(prefix)):
            for item in page.get("Contents", []):
                key = item["Key"].removeprefix(self._prefix)
                if not key.endswith("/") and RESERVED not in key:  # folder marks of consoles, probes of ours
                    yield Stat(key, item["Size"], item["ETag"], item["LastModified"])

    def folders(self, prefix: str = "") -> Sequence[str]:
        """Names directly below prefix that have something below them."""
        full = self._prefix + check_folder(prefix)
        pages = self._pages(full, Delimiter="/")
        return sorted(
            item["Prefix"].removeprefix(full).rstrip("/") for page in pages for item in page.get("CommonPrefixes", [])
        )

    def delete(self, keys: Iterable[str]) -> None:
        """Removes objects, a thousand with each request."""
        remaining = map(check_key, keys)
        while batch := tuple(islice(remaining, _DELETE_BATCH)):
            self._delete(batch)

    def delete_folder(self, folder: str) -> None:
        """Removes every object below folder/."""
        prefix = check_folder(check_key(folder.removesuffix("/")))
        self.delete([stat.key for stat in self.list(prefix)])

    def _write(self, verb: str, key: str, data: Data, condition: Mapping[str, str]) -> str:
        place, mark = self._place(key), uuid.uuid4().hex
        metadata = {_WRITE_MARK: mark}
        bulk = self._clients.bulk if len(data) >= LEAST_BYTES and "IfMatch" not in condition else None

        def write() -> str:
            return str(self._client.put_object(**place, Body=Body(data), Metadata=metadata, **condition)["ETag"])

        def fast() -> str:
            assert bulk
            return bulk.put(place["Key"], data, metadata=metadata, create=bool(condition))

        def recover() -> str | None:
            answer = self._head(key)
            return str(answer["ETag"]) if answer and answer.get("Metadata", {}).get(_WRITE_MARK) == mark else None

        # A reply can be lost after the write was applied: then our own repetition fails the condition.
        return self._call(verb, key, write, recover=recover, first=fast if bulk else None)

    def _head(self, key: str) -> dict[str, Any] | None:
        try:
            found: dict[str, Any] = self._call("read", key, lambda: self._client.head_object(**self._place(key)))
        except NotFound:
            return None
        return found

    def _pages(self, prefix: str, **more: str) -> Iterator[dict[str, Any]]:
        request = {"Bucket": self._bucket, "Prefix": prefix, **more}
        while True:
            page: dict[str, Any] = self._call(
                "list", prefix.removeprefix(self._prefix), partial(self._client.list_objects_v2, **request)
            )
            yield page
            if not page.get("IsTruncated"):
                return
            request["ContinuationToken"] = page["NextContinuationToken"]

    def _delete(self, keys: Sequence[str]) -> None:
        batch = {"Objects": [{"Key": self._prefix + key} for key in keys], "Quiet": True}
        try:
            answer = self._call(
                "delete", keys[0], lambda: self._client.delete_objects(Bucket=self._bucket, Delete=batch)
            )
            refused = [item["Key"].removeprefix(self._prefix) for item in answer.get("Errors", [])]
        except UnsupportedError:  # some servers want an MD5 of the request, which newer clients do not send
            refused = [*keys]
        for key in refused:
            self._call("delete", key, partial(self._client.delete_object, **self._place(key)))

    def _probe(self) -> bool:
        key = f"{RESERVED}probe-{uuid.uuid4().hex}"
        try:
            self._write("create", key, b"1", {"IfNoneMatch": "*"})
            return self._refuses(key, {"IfNoneMatch": "*"}) and self._refuses(key, {"IfMatch": f'"{"0" * 32}"'})
        except UnsupportedError:
            return False
        finally:
            with suppress(StorageError):  # what went wrong before is what to say
                self._call("delete", key, partial(self._client.delete_object, **self._place(key)))

    def _refuses(self, key: str, condition: Mapping[str, str]) -> bool:
        try:
            self._write("write", key, b"2", condition)
        except Conflict:
            return True
        return False

    def _call(
        self,
        verb: str,
        key: str,
        request: Callable[[], T],
        *,
        recover: Callable[[], T | None] | None = None,
        first: Callable[[], T] | None = None,
    ) -> T:
        return self._requests.call(verb, self._where(key), request, recover=recover, first=first)

    def _place(self, key: str) -> dict[str, str]:
        return {"Bucket": self._bucket, "Key": self._prefix + key}

    def _where(self, key: str) -> str:
        return f"{self.url}/{key}" if key else self.url

    @property
    def _client(self) -> Any:
        return self._clients.boto

    @property
    def _clients(self) -> Clients:
        return self._connection[0]

    @property
    def _requests(self) -> Requests:
        return self._connection[1]

    @property
    def _connection(self) -> tuple[Clients, Requests]:
        with self._lock:
            if self._made is None or self._made_by != os.getpid():  # a forked worker must not share our sockets
                clients = connect(
                    self._bucket,
                    endpoint=self._endpoint,
                    region=self._region,
                    ca_bundle=self._ca_bundle,
                    native=self._native,
                )
                self._made = clients, Requests(clients.boto.meta.endpoint_url, clients.errors, self._retry)
                self._made_by = os.getpid()
            return self._made
