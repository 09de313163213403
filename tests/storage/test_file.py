"""What only files have: folders, permissions, full disks, and what a killed writer leaves."""

import errno
import os
import resource
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from ktrain.errors import Conflict, StorageError
from ktrain.storage import open_storage
from ktrain.storage.file import FileStorage
from ktrain.storage.filelock import locked


def files(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_writing_leaves_nothing_but_the_objects(tmp_path: Path) -> None:
    storage = FileStorage(tmp_path)
    tag = storage.create("a/b", b"1")
    storage.replace("a/b", b"2", tag=tag)
    storage.put("a/c", b"3")
    with pytest.raises(Conflict):
        storage.create("a/b", b"4")
    with pytest.raises(Conflict):
        storage.replace("a/b", b"4", tag="old")
    assert files(tmp_path) == ["a/b", "a/c"]


def test_deleting_the_last_object_removes_its_folders(tmp_path: Path) -> None:
    storage = FileStorage(tmp_path / "root")
    storage.put("a/b/c", b"1")
    storage.delete(["a/b/c"])
    assert list((tmp_path / "root").iterdir()) == []


def test_what_a_killed_writer_leaves_is_no_object_and_goes_with_its_folder(tmp_path: Path) -> None:
    script = f"""
import os, signal
from pathlib import Path
from ktrain.storage.file import FileStorage
os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)
FileStorage(Path({str(tmp_path)!r})).create("step/a", b"half")
"""
    (tmp_path / "step").mkdir()
    died = subprocess.run([sys.executable, "-c", script], check=False)
    storage = FileStorage(tmp_path)
    assert died.returncode == -signal.SIGKILL
    assert len(files(tmp_path)) == 1
    assert list(storage.list()) == []
    assert list(storage.folders()) == []
    storage.delete_folder("step")
    assert files(tmp_path) == []


@pytest.mark.parametrize(
    ("url", "path"),
    [("file:///a/b%20c", "/a/b c"), ("/a/b", "/a/b"), ("file://localhost/a", "/a")],
)
def test_file_urls_and_paths_open_the_folder(url: str, path: str) -> None:
    assert open_storage(url).url == f"file://{path}"


def test_a_relative_path_is_below_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert open_storage("runs").url == f"file://{tmp_path}/runs"


def test_a_file_where_a_folder_should_be_is_named(tmp_path: Path) -> None:
    (tmp_path / "runs").write_text("I am a file")
    with pytest.raises(StorageError, match=r"cannot write .*/runs/a/b: a part of the path is a file"):
        open_storage(f"{tmp_path}/runs").put("a/b", b"x")


def test_a_folder_where_the_object_should_be_is_named(tmp_path: Path) -> None:
    storage = FileStorage(tmp_path)
    storage.put("a/b", b"x")
    with pytest.raises(StorageError, match="there is a folder of that name"):
        storage.create("a", b"x")
    with pytest.raises(StorageError, match="there is a folder of that name"):
        storage.put("a", b"x")
    assert files(tmp_path) == ["a/b"]


def test_a_name_too_long_is_said(tmp_path: Path) -> None:
    storage = FileStorage(tmp_path)
    for write in (storage.put, storage.create):
        with pytest.raises(StorageError, match="name is too long"):
            write("x" * 300, b"x")
    assert files(tmp_path) == []


@contextmanager
def as_nobody() -> Iterator[None]:
    """Root may write everywhere, so root is somebody else for a while."""
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if is_root:
            os.seteuid(0)


def test_a_folder_without_permission_is_said() -> None:
    with tempfile.TemporaryDirectory() as folder:  # not tmp_path, whose parents only its owner may enter
        Path(folder).chmod(0o555)
        with as_nobody(), pytest.raises(StorageError, match="permission denied"):
            FileStorage(Path(folder)).put("a", b"x")


def test_a_folder_that_cannot_be_made_is_said() -> None:
    with pytest.raises(StorageError, match=r"cannot create /proc/nowhere/HEAD: "):
        FileStorage(Path("/proc/nowhere")).create("HEAD", b"x")


def test_a_full_disk_leaves_no_half_object(tmp_path: Path) -> None:
    storage = FileStorage(tmp_path)
    storage.put("a", b"old")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    try:
        with pytest.raises(StorageError, match=r"cannot write .*/a: "):
            storage.put("a", bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)
    assert files(tmp_path) == ["a"]
    assert storage.get("a")[0] == b"old"


def test_a_full_disk_is_named_and_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def write(descriptor: int, data: memoryview) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", write)
    with pytest.raises(StorageError, match="the disk is full; free some space"):
        FileStorage(tmp_path).create("a", b"x")
    assert files(tmp_path) == []


def test_a_file_system_without_hard_links_still_creates_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    storage = FileStorage(tmp_path)
    storage.create("a", b"1")
    with pytest.raises(Conflict):
        storage.create("a", b"2")
    assert files(tmp_path) == ["a"]


def test_each_write_of_the_same_bytes_has_its_own_tag(tmp_path: Path) -> None:
    storage = FileStorage(tmp_path)
    tags = [storage.put("a", b"same") for _ in range(200)]
    assert len(set(tags)) == 200


def test_a_writer_waits_for_the_one_before_and_then_sees_its_write(tmp_path: Path) -> None:
    storage = FileStorage(tmp_path)
    tag = storage.create("HEAD", b"1")
    with ThreadPoolExecutor() as pool:
        with locked(tmp_path / "HEAD"):
            late = pool.submit(storage.replace, "HEAD", b"late", tag=tag)
            with pytest.raises(TimeoutError):
                late.result(timeout=0.2)
            (tmp_path / "new").write_bytes(b"first")
            (tmp_path / "new").replace(tmp_path / "HEAD")
        with pytest.raises(Conflict):
            late.result(timeout=10)
    assert storage.get("HEAD")[0] == b"first"


def test_a_lock_that_was_waited_for_is_still_a_lock(tmp_path: Path) -> None:
    """The holder removes the lock's file: whoever waited for it must not hold a file that nobody else can see."""

    def is_held_visibly() -> bool:
        with locked(tmp_path / "HEAD"):
            return (tmp_path / ".~HEAD.lock").exists()

    with ThreadPoolExecutor() as pool:
        with locked(tmp_path / "HEAD"):
            waiting = pool.submit(is_held_visibly)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.2)
        assert waiting.result(timeout=10)
