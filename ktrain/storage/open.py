"""From a URL to a storage."""

import os
from pathlib import Path
from urllib.parse import unquote, urlsplit

from ktrain.errors import StorageError
from ktrain.names import ENV_UNSTEADY
from ktrain.storage.base import Storage
from ktrain.storage.file import FileStorage
from ktrain.storage.unsteady import unsteady


def open_storage(
    url: str, *, endpoint: str | None = None, region: str | None = None, ca_bundle: str | None = None
) -> Storage:
    """The storage behind s3://bucket/prefix, file:///path or a plain path; connects at the first call, not here."""
    found = _open(url, endpoint=endpoint, region=region, ca_bundle=ca_bundle)
    plan = os.getenv(ENV_UNSTEADY)
    return unsteady(found, Path(plan)) if plan else found


def _open(url: str, *, endpoint: str | None, region: str | None, ca_bundle: str | None) -> Storage:
    if not url or "\0" in url:
        raise StorageError(f"{url!r} is no storage URL; write s3://bucket/prefix, file:///path or a folder")
    scheme = url.partition("://")[0].lower() if "://" in url else ""
    if not scheme:
        return FileStorage(Path(url).expanduser())
    if scheme == "file":
        return FileStorage(_file_path(url))
    if scheme == "s3":
        # Late, so that whoever only reads files loads no S3 client.
        from ktrain.storage.s3 import S3Storage

        return S3Storage.from_url(url, endpoint=endpoint, region=region, ca_bundle=ca_bundle)
    raise StorageError(f"storage URL begins with {scheme}://; expected s3://bucket/prefix, file:///path or a folder")


def _file_path(url: str) -> Path:
    parts = urlsplit(url)
    if parts.netloc not in {"", "localhost"}:
        raise StorageError(f"{url}: a file URL has three slashes and an absolute path, such as file:///data/runs")
    if not parts.path.startswith("/"):
        raise StorageError(f"{url}: the path must be absolute, such as file:///data/runs")
    return Path(unquote(url[len("file://") + len(parts.netloc) :]))
