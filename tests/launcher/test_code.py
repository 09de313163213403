"""The user's code: in place, or unpacked from storage and nothing beside it."""

import hashlib
import io
import tarfile
from pathlib import Path

import pytest

from ktrain.errors import BuildError, SpecError
from ktrain.spec import JobSpec
from ktrain.storage.memory import MemoryStorage
from ktrain_launcher.code import prepare
from ktrain_launcher.pod import Pod

SPEC = JobSpec.model_validate({"script": {"path": "train.py"}})


def pod(tmp_path: Path, code: str = "") -> Pod:
    return Pod.read({"KTRAIN_SPEC": "spec.json", "KTRAIN_SCRATCH": str(tmp_path), "KTRAIN_CODE": code})


def archive(**members: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as packed:
        for name, text in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(text)
            packed.addfile(info, io.BytesIO(text.encode()))
    return buffer.getvalue()


def stored(data: bytes, name: str | None = None) -> tuple[MemoryStorage, str]:
    storage, sha256 = MemoryStorage(), name or hashlib.sha256(data).hexdigest()
    storage.put(f"code/{sha256}.tar.gz", data)
    return storage, sha256


def test_a_folder_is_used_in_place(tmp_path: Path) -> None:
    spec = JobSpec.model_validate({"script": {"path": "train.py"}, "code": {"dir": str(tmp_path)}})
    assert prepare(pod(tmp_path), spec, MemoryStorage()) == tmp_path
    assert prepare(pod(tmp_path), SPEC, MemoryStorage()) == Path.cwd()


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    spec = JobSpec.model_validate({"script": {"path": "train.py"}, "code": {"dir": str(tmp_path / "no")}})
    with pytest.raises(SpecError, match=r"there is no folder .*/no"):
        prepare(pod(tmp_path), spec, MemoryStorage())


def test_an_archive_is_unpacked_once(tmp_path: Path) -> None:
    storage, sha256 = stored(archive(**{"train.py": "print()", "lib/util.py": "x = 1"}))
    folder = prepare(pod(tmp_path, sha256), SPEC, storage)
    assert (folder / "lib/util.py").read_text() == "x = 1"
    assert prepare(pod(tmp_path, sha256), SPEC, MemoryStorage()) == folder


@pytest.mark.parametrize("name", ["../escaped.py", "lib/../../escaped.py", "/escaped.py"])
def test_nothing_is_written_outside(tmp_path: Path, name: str) -> None:
    storage, sha256 = stored(archive(**{name: "x"}))
    with pytest.raises(BuildError, match="leads out of its folder"):
        prepare(pod(tmp_path / "scratch", sha256), SPEC, storage)
    assert not list(tmp_path.rglob("escaped.py"))


@pytest.mark.parametrize(
    ("kind", "target"), [(tarfile.SYMTYPE, "../../etc"), (tarfile.SYMTYPE, "/etc"), (tarfile.CHRTYPE, "")],
    ids=["up", "root", "device"],
)  # fmt: skip
def test_links_that_lead_out_and_devices_are_refused(tmp_path: Path, kind: bytes, target: str) -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as packed:
        info = tarfile.TarInfo("lib/etc")
        info.type, info.linkname = kind, target
        packed.addfile(info)
    storage, sha256 = stored(buffer.getvalue())
    with pytest.raises(BuildError, match="leads out of its folder or is no file"):
        prepare(pod(tmp_path, sha256), SPEC, storage)


def test_a_damaged_archive_is_refused(tmp_path: Path) -> None:
    storage, sha256 = stored(b"something else", name="0" * 64)
    with pytest.raises(BuildError, match="is damaged"):
        prepare(pod(tmp_path, sha256), SPEC, storage)


def test_bytes_that_are_no_archive_are_refused(tmp_path: Path) -> None:
    storage, sha256 = stored(b"no archive")
    with pytest.raises(BuildError, match="cannot be unpacked"):
        prepare(pod(tmp_path, sha256), SPEC, storage)


def test_a_missing_archive_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(BuildError, match="submit the job again"):
        prepare(pod(tmp_path, "0" * 64), SPEC, MemoryStorage())


def test_a_hash_that_is_none_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="expected the sha256"):
        prepare(pod(tmp_path, "../secret"), SPEC, MemoryStorage())
