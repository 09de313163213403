"""The user's code as the ranks find it: the folder itself, or the archive that submit uploaded, unpacked."""

import hashlib
import io
import re
import tarfile
from pathlib import Path, PurePosixPath
from typing import Any, Final

from ktrain import names
from ktrain.errors import BuildError, NotFound, SpecError
from ktrain.spec import JobSpec
from ktrain.storage import Storage
from ktrain_launcher.pod import Pod

MAX_UNPACKED_BYTES: Final = 4 << 30
# Python before 3.11.4 has no filters; _check refuses what they would, and the filter stays as a second lock.
_FILTER: Final[dict[str, Any]] = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}
_SHA256: Final = re.compile(r"[0-9a-f]{64}")


def prepare(pod: Pod, spec: JobSpec, job_storage: Storage) -> Path:
    """The folder that the ranks start in; raises SpecError, BuildError or StorageError."""
    if pod.code:
        return _unpacked(pod.code, pod.scratch / "code", job_storage)
    folder = Path(spec.code.dir if spec.code else ".").absolute()
    if not folder.is_dir():
        raise SpecError(f"spec.code.dir: there is no folder {folder}")
    return folder


def _unpacked(sha256: str, folder: Path, job_storage: Storage) -> Path:
    if not _SHA256.fullmatch(sha256):
        raise SpecError(f"{names.ENV_CODE} is {sha256!r}; expected the sha256 of a code archive, 64 hexadecimal digits")
    target = folder / sha256
    if target.is_dir():  # from before a restart of the container
        return target
    key = f"{names.DIR_CODE}/{sha256}.tar.gz"
    try:
        data, _ = job_storage.get(key)
    except NotFound as error:
        raise BuildError(f"{job_storage.url}/{key} does not exist; submit the job again to upload its code") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise BuildError(f"{job_storage.url}/{key} is damaged: its contents do not have the hash of its name")
    partial = folder / f"{sha256}.partial"
    _extract(data, partial, key)
    # Renamed when whole: a launcher that dies in between must not leave half a program.
    return partial.rename(target)


def _extract(data: bytes, target: Path, key: str) -> None:
    target.mkdir(parents=True, exist_ok=True)
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:gz") as archive:
            size_bytes = sum(member.size for member in archive)
            if size_bytes > MAX_UNPACKED_BYTES:
                raise BuildError(
                    f"{key} unpacks to {size_bytes} bytes; exclude data from spec.code, it belongs in storage"
                )
            for member in archive:
                _check(member, key)
            archive.extractall(target, **_FILTER)  # noqa: S202  -- checked above
    except (tarfile.TarError, OSError, EOFError) as error:
        raise BuildError(f"{key} cannot be unpacked: {error}") from error


def _check(member: tarfile.TarInfo, key: str) -> None:
    """BuildError for what submit never packs: devices, and paths or links that lead out of the folder."""
    path = PurePosixPath(member.name)
    leads = path.parent / member.linkname if member.issym() else PurePosixPath(member.linkname)
    is_out = any(it.is_absolute() or _depth(it) < 0 for it in (path, leads))
    if is_out or not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
        raise BuildError(
            f"{key} holds {member.name!r}, which leads out of its folder or is no file; submit the job again"
        )


def _depth(path: PurePosixPath) -> int:
    """How far below its folder a path stays at the least; negative when it leaves it on the way."""
    depth = lowest = 0
    for part in path.parts:
        depth += -1 if part == ".." else 1
        lowest = min(lowest, depth)
    return lowest
