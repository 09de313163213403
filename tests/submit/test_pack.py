"""The code archive: the same bytes for the same files, and nothing that should not travel."""

import io
import os
import tarfile
import time
from pathlib import Path

import pytest

from ktrain.errors import SpecError
from ktrain.submit import pack as packing
from ktrain.submit.pack import Archive, pack


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "lib").mkdir()
    (tmp_path / "train.py").write_text("print()", encoding="utf-8")
    (tmp_path / "lib" / "util.py").write_text("x = 1", encoding="utf-8")
    return tmp_path


def names(archive: Archive) -> list[str]:
    with tarfile.open(fileobj=io.BytesIO(archive.data)) as packed:
        return packed.getnames()


def test_the_same_files_are_the_same_archive(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    first = pack(folder)
    other = tmp_path_factory.mktemp("other")
    (other / "lib").mkdir()
    for name in ("lib/util.py", "train.py"):
        (other / name).write_bytes((folder / name).read_bytes())
        os.utime(other / name, (time.time() - 1e6, time.time() - 1e6))
    assert pack(other).sha256 == first.sha256
    (other / "train.py").write_text("print(1)", encoding="utf-8")
    assert pack(other).sha256 != first.sha256


def test_what_git_ignores_stays_here(folder: Path) -> None:
    for name in (".git/config", "__pycache__/a.pyc", "data/big.bin", "notes.md", "keep.bin"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("x", encoding="utf-8")
    (folder / ".gitignore").write_text("*.bin\n!keep.bin\n", encoding="utf-8")
    assert names(pack(folder, ("*.md",))) == [".gitignore", "keep.bin", "lib/util.py", "train.py"]


def test_a_link_inside_travels_as_a_link(folder: Path) -> None:
    (folder / "alias.py").symlink_to("lib/util.py")
    with tarfile.open(fileobj=io.BytesIO(pack(folder).data)) as packed:
        assert packed.getmember("alias.py").linkname == "lib/util.py"


@pytest.mark.parametrize("target", ["../secret", "/etc/passwd", "missing.py"])
def test_a_link_that_leads_out_is_refused(folder: Path, target: str) -> None:
    (folder.parent / "secret").write_text("x", encoding="utf-8")
    (folder / "link").symlink_to(target)
    with pytest.raises(SpecError, match=r"link links to .*, which is not in .*spec\.code\.exclude"):
        pack(folder)


def test_a_pipe_is_refused(folder: Path) -> None:
    os.mkfifo(folder / "pipe")
    with pytest.raises(SpecError, match="pipe is no file that can be packed"):
        pack(folder)


def test_too_much_is_refused_and_the_largest_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "MAX_BYTES", 1 << 20)
    with (folder / "weights.pt").open("wb") as file:
        file.truncate(3 << 20)
    with pytest.raises(SpecError, match=r"has 3 MiB, more than 1; the largest: weights\.pt \(3 MiB\)"):
        pack(folder)


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="there is no folder"):
        pack(tmp_path / "no")
