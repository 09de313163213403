"""Objects as files: each write is a temporary file, made durable, then linked or renamed into place."""

import errno
import os
import secrets
import shutil
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from io import FileIO
from pathlib import Path
from typing import Final

from ktrain.errors import Conflict, NotFound, ShortRead, StorageError
from ktrain.storage.base import Data, Stat
from ktrain.storage.filelock import locked
from ktrain.storage.keys import RESERVED, check_folder, check_key, check_prefix

_NO_LINKS: Final = {errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS}
_MISSING: Final = {errno.ENOENT, errno.ENOTDIR, errno.EISDIR}
_REASONS: Final = {
    errno.ENOSPC: "the disk is full; free some space or choose another storage.url",
    errno.EDQUOT: "the disk quota is used up; free some space or choose another storage.url",
    errno.EACCES: "permission denied; give this user the right to write there or choose another storage.url",
    errno.EPERM: "permission denied; give this user the right to write there or choose another storage.url",
    errno.EROFS: "the file system is read-only; choose another storage.url",
    errno.ENAMETOOLONG: "the name is too long for this file system",
    errno.ENOTDIR: "a part of the path is a file, not a folder",
    errno.EEXIST: "a part of the path is a file, not a folder",
    errno.EISDIR: "there is a folder of that name",
}


class FileStorage:
    """A folder as storage; safe between processes, and between machines where the file system's locks are."""

    is_fenced = True

    def __init__(self, root: Path) -> None:
        self._root = root.absolute()

    @property
    def url(self) -> str:
        """The folder as a file:// URL."""
        return f"file://{self._root}"

    def put(self, key: str, data: Data) -> str:
        """Writes the whole object, durable and visible at once or not at all."""
        path = self._path(key)
        with _Errors("write", path):
            return _publish(path, data, tag=None)

    def create(self, key: str, data: Data) -> str:
        """Like put, but raises Conflict when the key exists."""
        path = self._path(key)
        with _Errors("create", path):
            if path.exists():
                raise _exists(path)
            return _publish_new(path, data)

    def replace(self, key: str, data: Data, *, tag: str) -> str:
        """Like put, but raises Conflict unless the object still has this tag."""
        path = self._path(key)
        with _Errors("replace", path):
            return _publish(path, data, tag=tag)

    def get(self, key: str) -> tuple[bytes, str]:
        """The whole object and its tag."""
        path = self._path(key)
        with _Errors("read", path), path.open("rb") as file:
            return file.read(), _tag(os.fstat(file.fileno()))

    def read(self, key: str, begin: int, end: int) -> bytes:
        """Bytes [begin, end) of the object."""
        path = self._path(key)
        with _Errors("read", path), path.open("rb") as file:
            file.seek(begin)
            data = file.read(end - begin)
        if len(data) < end - begin:
            raise ShortRead(f"{path}: ends at byte {begin + len(data)}, but bytes {begin} to {end} were expected")
        return data

    def stat(self, key: str) -> Stat | None:
        """The object's size and tag, None when there is none."""
        path = self._path(key)
        try:
            with _Errors("read", path):
                seen = path.stat()
        except NotFound:
            return None
        return _stat(key, seen) if path.is_file() else None

    def list(self, prefix: str = "") -> Iterator[Stat]:
        """All objects whose key begins with prefix, in key order."""
        check_prefix(prefix)
        folder, _, _ = prefix.rpartition("/")
        with _Errors("list", self._root / folder):
            yield from _walk(self._root / folder, folder + "/" if folder else "", prefix)

    def folders(self, prefix: str = "") -> Sequence[str]:
        """Names of the folders directly below prefix that hold something."""
        path = self._root / check_folder(prefix)
        with _Errors("list", path):
            names = [entry.name for entry in _entries(path) if entry.is_dir()]
            return [name for name in names if next(_walk(path / name, "", ""), None)]

    def delete(self, keys: Iterable[str]) -> None:
        """Removes objects, and the folders that become empty."""
        for path in map(self._path, keys):
            with _Errors("delete", path):
                if not path.is_dir():
                    with suppress(FileNotFoundError, NotADirectoryError):
                        path.unlink()
                self._prune(path.parent)

    def delete_folder(self, folder: str) -> None:
        """Removes a folder with everything in it, leftovers of interrupted writes included."""
        path = self._root / check_key(folder.removesuffix("/"))
        with _Errors("delete", path):
            with suppress(FileNotFoundError, NotADirectoryError):
                shutil.rmtree(path)
            self._prune(path.parent)

    def _path(self, key: str) -> Path:
        return self._root / check_key(key)

    def _prune(self, folder: Path) -> None:
        while folder != self._root and self._root in folder.parents:
            try:
                folder.rmdir()
            except OSError:  # not empty, or gone already
                return
            folder = folder.parent


class _Errors:
    """Turns an OSError into the StorageError that says what failed, where and why."""

    def __init__(self, verb: str, path: Path) -> None:
        self._verb, self._path = verb, path

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, error: BaseException | None, _trace: object) -> None:
        if not isinstance(error, OSError):
            return
        if self._verb == "read" and error.errno in _MISSING:
            raise NotFound(f"{self._path}: no such object") from error
        reason = _REASONS.get(error.errno or 0) or (error.strerror or type(error).__name__).lower()
        raise StorageError(f"cannot {self._verb} {self._path}: {reason}") from error


def _publish_new(path: Path, data: Data) -> str:
    temporary, tag = _write_temporary(path, data)
    try:
        _link(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)
    return tag


def _publish(path: Path, data: Data, *, tag: str | None) -> str:
    temporary, new_tag = _write_temporary(path, data)
    try:
        # Also an unconditional put takes the lock: it must not slip between another's comparison and rename.
        with locked(path):
            if tag is not None and tag != _current_tag(path):
                raise Conflict(f"{path}: changed by another writer")
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    _sync_folder(path.parent)
    return new_tag


def _write_temporary(path: Path, data: Data) -> tuple[Path, str]:
    temporary = path.parent / f"{RESERVED}{os.getpid()}-{secrets.token_hex(8)}.tmp"
    try:
        with _open_new(temporary) as file:
            _write_all(file.fileno(), memoryview(data).cast("B"))
            # The clock of a file system may stand still between two writes; the time of day in nanoseconds does not.
            now = time.time_ns() // 1000 * 1000 + secrets.randbelow(1000)
            os.utime(temporary, ns=(now, now))
            os.fsync(file.fileno())
            return temporary, _tag(os.fstat(file.fileno()))
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def _open_new(path: Path) -> FileIO:
    for _ in range(10):  # another process may prune the folder in between, as it was empty
        with suppress(FileNotFoundError):
            _make_folder(path.parent)
            return path.open("xb", buffering=0)
    _make_folder(path.parent)
    return path.open("xb", buffering=0)


def _write_all(descriptor: int, data: memoryview) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def _link(temporary: Path, path: Path) -> None:
    try:
        path.hardlink_to(temporary)
    except FileExistsError as error:
        raise _exists(path) from error
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        _rename_new(temporary, path)


def _rename_new(temporary: Path, path: Path) -> None:
    with locked(path):  # some file systems have no hard links
        if path.exists():
            raise _exists(path)
        temporary.replace(path)


def _exists(path: Path) -> StorageError:
    if path.is_dir():
        return StorageError(f"cannot create {path}: there is a folder of that name")
    return Conflict(f"{path}: exists already")


def _make_folder(folder: Path) -> None:
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    folder.mkdir(exist_ok=True)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:  # some network file systems cannot, and need not
            raise
    finally:
        os.close(descriptor)


def _current_tag(path: Path) -> str | None:
    try:
        with path.open("rb") as file:  # opening asks a network file system for fresh attributes; stat alone may not
            return _tag(os.fstat(file.fileno()))
    except FileNotFoundError:
        return None


def _tag(seen: os.stat_result) -> str:
    return f"{seen.st_mtime_ns:x}-{seen.st_ino:x}-{seen.st_size:x}"


def _stat(key: str, seen: os.stat_result) -> Stat:
    return Stat(key, seen.st_size, _tag(seen), datetime.fromtimestamp(seen.st_mtime, UTC))


def _entries(folder: Path) -> Iterable["os.DirEntry[str]"]:
    try:
        with os.scandir(folder) as entries:
            seen = [entry for entry in entries if not entry.name.startswith(RESERVED)]
    except (FileNotFoundError, NotADirectoryError):
        return []
    # As S3 sorts keys: by bytes, with the slash of a folder counted.
    return sorted(seen, key=lambda entry: os.fsencode(entry.name) + (b"/" if entry.is_dir() else b""))


def _walk(folder: Path, key: str, prefix: str) -> Iterator[Stat]:
    for entry in _entries(folder):
        name = key + entry.name
        if entry.is_dir():
            if (name + "/").startswith(prefix[: len(name) + 1]):
                yield from _walk(folder / entry.name, name + "/", prefix)
        elif name.startswith(prefix):
            with suppress(FileNotFoundError):  # deleted while we look
                yield _stat(name, entry.stat())
