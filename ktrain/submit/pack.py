"""The user's code as one archive: the same bytes for the same files, named by their hash."""

import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pathspec

from ktrain.errors import SpecError

MAX_BYTES: Final = 64 << 20  # of all files together
_ALWAYS_OUT: Final = (".git/", "__pycache__/", ".venv/", "*.pyc", ".ipynb_checkpoints/")


@dataclass(frozen=True, slots=True)
class Archive:
    """A gzipped tar file."""

    data: bytes
    num_files: int

    @property
    def sha256(self) -> str:
        """Its name."""
        return hashlib.sha256(self.data).hexdigest()


def pack(folder: Path, exclude: Sequence[str] = ()) -> Archive:
    """Everything in the folder but what .gitignore and `exclude` leave out; SpecError when it cannot travel."""
    if not folder.is_dir():
        raise SpecError(f"spec.code.dir: there is no folder {folder}")
    files = list(_files(folder, _ignored(folder, exclude)))
    _check_size(folder, files)
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path in files:
            _add(archive, path, folder)
    return Archive(gzip.compress(raw.getvalue(), compresslevel=6, mtime=0), len(files))


def _ignored(folder: Path, exclude: Sequence[str]) -> pathspec.GitIgnoreSpec:
    own = folder / ".gitignore"
    lines = own.read_text(encoding="utf-8", errors="replace").splitlines() if own.is_file() else []
    return pathspec.GitIgnoreSpec.from_lines([*lines, *_ALWAYS_OUT, *exclude])


def _files(folder: Path, ignored: pathspec.GitIgnoreSpec, below: Path = Path()) -> Iterator[Path]:
    for path in sorted((folder / below).iterdir()):
        relative = below / path.name
        is_folder = path.is_dir() and not path.is_symlink()
        if ignored.match_file(f"{relative.as_posix()}/" if is_folder else relative.as_posix()):
            continue
        if is_folder:
            yield from _files(folder, ignored, relative)
        elif path.is_symlink():
            yield _checked_link(path, folder)
        elif path.is_file():
            yield path
        else:
            raise SpecError(f"{path} is no file that can be packed; leave it out with spec.code.exclude")


def _checked_link(path: Path, folder: Path) -> Path:
    target = path.resolve()
    if path.readlink().is_absolute() or not target.is_relative_to(folder.resolve()) or not target.exists():
        raise SpecError(
            f"{path} links to {path.readlink()}, which is not in {folder}; copy it there, or leave it out with spec.code.exclude"
        )
    return path


def _check_size(folder: Path, files: Sequence[Path]) -> None:
    sizes = {path: path.lstat().st_size for path in files}
    if sum(sizes.values()) <= MAX_BYTES:
        return
    largest = sorted(sizes, key=lambda path: sizes[path], reverse=True)[:3]
    named = ", ".join(f"{path.relative_to(folder)} ({sizes[path] >> 20} MiB)" for path in largest)
    raise SpecError(
        f"the code in {folder} has {sum(sizes.values()) >> 20} MiB, more than {MAX_BYTES >> 20}; the largest: {named}; "
        "leave data out with spec.code.exclude, it belongs in storage"
    )


def _add(archive: tarfile.TarFile, path: Path, folder: Path) -> None:
    try:
        entry = archive.gettarinfo(path, arcname=path.relative_to(folder).as_posix())
        # Whose it is and when it was touched is no part of the code.
        entry.uid = entry.gid = entry.mtime = 0
        entry.uname = entry.gname = ""
        entry.mode = 0o755 if entry.mode & 0o100 else 0o644
        if entry.isreg():
            with path.open("rb") as file:
                archive.addfile(entry, file)
        else:
            archive.addfile(entry)
    except OSError as error:
        raise SpecError(f"{path} cannot be packed: {error.strerror}; leave it out with spec.code.exclude") from error
