"""What can be known to fail before any rank starts."""

import importlib.util
import os
import shutil
import sys
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

from ktrain import names
from ktrain.errors import StorageError
from ktrain.names import Exit
from ktrain.spec import JobSpec
from ktrain.storage import Storage
from ktrain.units import format_bytes

MIN_SCRATCH_BYTES: Final = 64 << 20
MIN_SHM_BYTES: Final = 128 << 20
MAX_SKEW: Final = timedelta(minutes=5)
EARLIEST: Final = datetime(2025, 1, 1, tzinfo=UTC)
SHM: Final = Path("/dev/shm")  # noqa: S108

OURS: Final = ("torch", "numpy", "ktrain", "ktrain_trainer", "ktrain_launcher", "prometheus_client", "pydantic")
STANDARD: Final = ("abc", "copy", "dataclasses", "enum", "functools", "inspect", "json", "logging", "multiprocessing",
                   "numbers", "pickle", "queue", "random", "re", "select", "signal", "socket", "statistics",
                   "string", "struct", "subprocess", "tempfile", "threading", "tokenize", "types", "typing")  # fmt: skip


@dataclass(frozen=True, slots=True)
class Problem:
    """One sentence, and the code that says whether another try can help."""

    sentence: str
    code: Exit


@dataclass(frozen=True, slots=True)
class Place:
    """What is looked at."""

    spec: JobSpec
    scratch: Path
    storage: Storage  # the run's
    code: Path
    in_cluster: bool
    shm: Path = SHM
    dev: Path = Path("/dev")


def check(place: Place, now: datetime) -> Problem | None:
    """The first problem that no retry can solve, else the first of the others."""
    problems = list(_problems(place, now))
    return next((problem for problem in problems if problem.code.is_permanent), next(iter(problems), None))


def _problems(place: Place, now: datetime) -> Iterator[Problem]:
    checks: tuple[Callable[[], Problem | None], ...] = (
        lambda: _scratch(place.scratch),
        lambda: _shm(place.spec, place.shm),
        lambda: _clash(place.spec, place.code),
        lambda: _script(place.spec, place.code),
        lambda: _gpus(place.spec, place.dev) if place.in_cluster else None,
        lambda: _clock(now),
        lambda: _storage(place.storage, now),
    )
    return (problem for each in checks if (problem := each()))


def _scratch(folder: Path) -> Problem | None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{os.getpid()}"
        probe.write_bytes(b"ktrain")
        probe.unlink()
    except OSError as error:
        return Problem(f"{names.ENV_SCRATCH}: {folder} cannot be written ({error.strerror}); it must be a writable folder", Exit.SPEC)  # fmt: skip
    free = shutil.disk_usage(folder).free
    if free < MIN_SCRATCH_BYTES:
        return Problem(f"{folder} has {format_bytes(free)} left, but logs and code need {format_bytes(MIN_SCRATCH_BYTES)}; free some space", Exit.STORAGE)  # fmt: skip
    return None


def _shm(spec: JobSpec, folder: Path) -> Problem | None:
    workers = spec.trainer.data.loader.workers if spec.trainer else 0
    if not workers or not folder.is_dir():
        return None
    total = shutil.disk_usage(folder).total
    if total >= MIN_SHM_BYTES:
        return None
    return Problem(f"{folder} has {format_bytes(total)}, but {workers} loader workers pass batches through it; mount an emptyDir with medium: Memory there, or set data.loader.workers to 0", Exit.SPEC)  # fmt: skip


def _clash(spec: JobSpec, code: Path) -> Problem | None:
    folder = (code / spec.script.path).parent if spec.script else code
    for name in (*OURS, *STANDARD):
        for candidate in (folder / f"{name}.py", folder / name / "__init__.py"):
            if candidate.is_file() and not _is_same(name, candidate):
                return Problem(f"{candidate} would be imported in place of {name!r}, which the ranks need; rename it", Exit.BUILD)  # fmt: skip
    return None


def _is_same(name: str, candidate: Path) -> bool:
    """Somebody may train from a checkout of ktrain itself."""
    if name in sys.modules:
        origin = getattr(sys.modules[name], "__file__", None)
    else:
        found = importlib.util.find_spec(name)
        origin = found.origin if found else None
    return origin is not None and Path(origin).exists() and candidate.samefile(origin)


def _script(spec: JobSpec, code: Path) -> Problem | None:
    if spec.script is None or (code / spec.script.path).is_file():
        return None
    return Problem(f"spec.script.path: there is no file {spec.script.path!r} in {code}", Exit.SPEC)


def _gpus(spec: JobSpec, dev: Path) -> Problem | None:
    wanted = int(spec.resources.get("nvidia.com/gpu", "0"))
    visible = sum(path.name.removeprefix("nvidia").isdigit() for path in dev.glob("nvidia*"))
    if visible >= wanted:
        return None
    return Problem(f"this pod asked for {wanted} GPUs and sees {visible}; its node's driver or device plugin is broken", Exit.PEER)  # fmt: skip


def _clock(now: datetime) -> Problem | None:
    if now > EARLIEST:
        return None
    return Problem(f"this machine's clock says {now:%Y-%m-%d %H:%M}; set it, or storage refuses our requests", Exit.STORAGE)  # fmt: skip


def _storage(storage: Storage, now: datetime) -> Problem | None:
    key, words = f"{names.DIR_STATE}/probe-{uuid.uuid4()}", b"ktrain"
    try:
        storage.put(key, words)
        read, _ = storage.get(key)
        stat = storage.stat(key)
        storage.delete([key])
    except StorageError as error:
        return Problem(f"storage failed its test: {error}", error.exit)
    if read != words:
        return Problem(f"{storage.url} gave back other bytes than were written; it cannot keep checkpoints", Exit.STORAGE)  # fmt: skip
    skew = abs(stat.modified - now) if stat else timedelta(0)
    if skew > MAX_SKEW:
        return Problem(f"this machine's clock and that of {storage.url} differ by {skew}; set the clock", Exit.STORAGE)
    return None
