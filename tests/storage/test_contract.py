"""What every storage promises, whatever is behind it."""

from datetime import UTC, datetime, timedelta

import pytest

from ktrain.errors import Conflict, NotFound, ShortRead, StorageError
from ktrain.storage import Storage, scoped


def test_what_is_put_is_what_one_gets(storage: Storage) -> None:
    tag = storage.put("a/b", b"hello")
    assert storage.get("a/b") == (b"hello", tag)


@pytest.mark.parametrize("data", [b"", bytearray(b"abc"), memoryview(b"abcdef")[2:4]], ids=["empty", "array", "view"])
def test_any_buffer_can_be_written(storage: Storage, data: bytes) -> None:
    storage.put("put", data)
    storage.create("created", data)
    assert storage.get("put")[0] == storage.get("created")[0] == bytes(data)


def test_a_second_put_replaces_the_first_and_changes_the_tag(storage: Storage) -> None:
    first = storage.put("a", b"one")
    second = storage.put("a", b"two")
    assert storage.get("a") == (b"two", second)
    assert first != second


def test_create_loses_against_an_object_that_exists(storage: Storage) -> None:
    storage.create("a/b", b"first")
    with pytest.raises(Conflict, match=r"a/b.*exists already"):
        storage.create("a/b", b"second")
    assert storage.get("a/b")[0] == b"first"


def test_replace_wins_with_the_current_tag(storage: Storage) -> None:
    tag = storage.create("HEAD", b"1")
    newer = storage.replace("HEAD", b"2", tag=tag)
    assert storage.get("HEAD") == (b"2", newer)


def test_replace_loses_with_an_old_tag(storage: Storage) -> None:
    old = storage.create("HEAD", b"1")
    storage.put("HEAD", b"2")
    with pytest.raises(Conflict, match="changed by another writer"):
        storage.replace("HEAD", b"3", tag=old)
    assert storage.get("HEAD")[0] == b"2"


def test_replace_loses_when_the_object_is_gone(storage: Storage) -> None:
    tag = storage.create("HEAD", b"1")
    storage.delete(["HEAD"])
    with pytest.raises(Conflict):
        storage.replace("HEAD", b"2", tag=tag)
    assert storage.stat("HEAD") is None


def test_a_missing_object_is_not_found(storage: Storage) -> None:
    storage.put("a/b", b"x")
    for key in ("nothing", "a", "a/c", "a/b/c"):
        with pytest.raises(NotFound, match="no such object"):
            storage.get(key)
        with pytest.raises(NotFound):
            storage.read(key, 0, 1)
        assert storage.stat(key) is None


def test_read_gives_exactly_the_range(storage: Storage) -> None:
    storage.put("a", bytes(range(100)))
    assert storage.read("a", 0, 100) == bytes(range(100))
    assert storage.read("a", 40, 43) == bytes([40, 41, 42])
    assert storage.read("a", 7, 7) == b""


@pytest.mark.parametrize("ends", [(90, 101), (100, 101), (500, 600)])
def test_a_range_beyond_the_end_is_a_short_read(storage: Storage, ends: tuple[int, int]) -> None:
    storage.put("a", bytes(100))
    with pytest.raises(ShortRead):
        storage.read("a", *ends)


def test_stat_tells_size_tag_and_time(storage: Storage) -> None:
    tag = storage.put("a/b", b"12345")
    stat = storage.stat("a/b")
    assert stat is not None
    assert (stat.key, stat.size_bytes, stat.tag) == ("a/b", 5, tag)
    assert abs(datetime.now(UTC) - stat.modified) < timedelta(minutes=1)


def test_list_gives_all_keys_with_the_prefix_in_order(storage: Storage) -> None:
    keys = ["a", "a.b", "a/b", "a/b/c1", "a/b-", "a0", "b/a"]
    keys.remove("a")  # a file system cannot have both a and a/b
    keys.remove("a/b")
    for key in keys:
        storage.put(key, key.encode())
    assert [stat.key for stat in storage.list()] == sorted(keys)
    assert [stat.key for stat in storage.list("a/b")] == ["a/b-", "a/b/c1"]
    assert [stat.key for stat in storage.list("a/b/")] == ["a/b/c1"]
    assert [stat.size_bytes for stat in storage.list("a/b-")] == [4]
    assert list(storage.list("nothing")) == []


def test_folders_are_the_names_directly_below(storage: Storage) -> None:
    for key in ("x/a0001-e0001/step/m", "x/a0001-e0002/n", "x/HEAD", "y/z"):
        storage.put(key, b"1")
    assert list(storage.folders()) == ["x", "y"]
    assert list(storage.folders("x/")) == ["a0001-e0001", "a0001-e0002"]
    assert list(storage.folders("nothing/")) == []


def test_delete_removes_and_does_not_mind_the_missing(storage: Storage) -> None:
    for key in ("a/1", "a/2", "a/3"):
        storage.put(key, b"x")
    storage.delete(["a/1", "a/3", "never/was"])
    assert [stat.key for stat in storage.list()] == ["a/2"]


def test_deleting_a_folder_removes_all_below_and_nothing_beside(storage: Storage) -> None:
    for key in ("run/a/1", "run/a/b/2", "run/ab/3", "run/HEAD"):
        storage.put(key, b"x")
    storage.delete_folder("run/a")
    storage.delete_folder("run/never")
    assert [stat.key for stat in storage.list()] == ["run/HEAD", "run/ab/3"]


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/etc/passwd",
        "..",
        "a/../../b",
        "a//b",
        "a/",
        "./a",
        "a/.",
        "a\0b",
        "a\nb",
        "a\\b",
        "\ud800",
        "a/.~b",
        "x" * 1025,
    ],
)
def test_a_key_that_could_escape_is_refused(storage: Storage, key: str) -> None:
    calls = (
        lambda: storage.put(key, b"x"),
        lambda: storage.create(key, b"x"),
        lambda: storage.replace(key, b"x", tag="t"),
        lambda: storage.get(key),
        lambda: storage.read(key, 0, 1),
        lambda: storage.stat(key),
        lambda: storage.delete([key]),
        lambda: scoped(storage, "job").put(key, b"x"),
    )
    for call in calls:
        with pytest.raises(StorageError, match="cannot be a storage key"):
            call()


@pytest.mark.parametrize("folder", ["..", "/", "a/..", ".", ""])
def test_a_folder_that_could_escape_is_not_deleted(storage: Storage, folder: str) -> None:
    storage.put("a/b", b"x")
    with pytest.raises(StorageError, match="cannot be a storage"):
        storage.delete_folder(folder)
    assert storage.stat("a/b") is not None


def test_names_that_people_choose_survive(storage: Storage) -> None:
    for key in ("a b/c+d&e=f", "übung/ключ", "100%/x", "a?b#c"):
        storage.put(key, key.encode())
        assert storage.get(key)[0] == key.encode()
    assert len(list(storage.list())) == 4


def test_a_scope_sees_only_its_own(storage: Storage) -> None:
    job = scoped(storage, "ns/job")
    storage.put("ns/other", b"x")
    storage.put("ns/job2/HEAD", b"x")
    job.create("HEAD", b"mine")
    assert storage.get("ns/job/HEAD")[0] == b"mine"
    assert [stat.key for stat in job.list()] == ["HEAD"]
    assert job.stat("HEAD") == job.stat("HEAD")
    assert job.url == f"{storage.url}/ns/job"


def test_every_kind_here_is_fenced(storage: Storage) -> None:
    assert storage.is_fenced
    assert list(storage.list()) == []
