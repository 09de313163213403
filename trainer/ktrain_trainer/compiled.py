"""What was compiled is kept with the run, so that a restart on another machine compiles nothing again.

Kept is inductor's folder as it is: torch.compiler.save_cache_artifacts leaves out the libraries that g++ makes, which on
CPUs are nearly all of the time (measured: 43 s without, 2.5 s with them, for three graphs of an MLP).
"""

import hashlib
import io
import logging
import os
import platform
import shutil
import tarfile
import tempfile
import threading
from pathlib import Path
from typing import Final

import torch

from ktrain.errors import NotFound, StorageError
from ktrain.storage import Storage

log = logging.getLogger("ktrain")
ENV_FOLDER: Final = "TORCHINDUCTOR_CACHE_DIR"
DIR: Final = "state/compiled"  # in the run: one archive per kind of machine and version of torch
MAX_BYTES: Final = 512 << 20  # an archive beyond that costs more to fetch than to compile


def machine() -> str:
    """A name for what compiled code depends on: versions and the processor's or GPU's kind.

    g++ compiles for the very processor (-march=native): on one that lacks an instruction the program would die of SIGILL.
    """
    device = torch.cuda.get_device_name() if torch.cuda.is_available() else _processor()
    parts = (torch.__version__, str(torch.version.cuda), platform.python_version(), platform.machine(), device)
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor()
    lines = info.read_text().split("\n\n")[0].splitlines()
    return "\n".join(line for line in lines if line.split("\t")[0] in {"model name", "flags", "Features", "CPU part"})


class Compiled:
    """Inductor's folder of this machine, filled from the run and kept in it."""

    def __init__(self, storage: Storage | None, scratch: Path, *, keeps: bool) -> None:
        """keeps: whether this rank writes to the run."""
        self._storage = storage
        self._keeps = keeps
        self._key = f"{DIR}/{machine()}.tar"
        self._folder = scratch / "compiled" / machine()
        self._kept: frozenset[str] = frozenset()
        self._work: threading.Thread | None = None

    def open(self) -> None:
        """Before anything is compiled: the folder, with what the run has kept. A folder that is there is left alone."""
        os.environ[ENV_FOLDER] = str(self._folder)
        if not self._folder.exists() and self._storage:
            self._fetch(self._storage)
        self._kept = self._files()

    def keep(self) -> None:
        """In the background, when something was compiled since; one at a time. It never fails a run."""
        if self._storage is None or not self._keeps or (self._work and self._work.is_alive()):
            return
        if (files := self._files()) != self._kept:
            self._work = threading.Thread(target=self._put, args=(self._storage, files), name="compiled", daemon=True)
            self._work.start()

    def close(self) -> None:
        """Waits for what is under way, and keeps what came after it."""
        for _ in range(2):
            if self._work:
                self._work.join()
            self.keep()

    def _fetch(self, storage: Storage) -> None:
        try:
            archive, _ = storage.get(self._key)
        except NotFound:
            return
        except StorageError as error:
            log.warning("what was compiled before could not be fetched, so it is compiled again: %s", error)
            return
        self._folder.parent.mkdir(parents=True, exist_ok=True)
        taken = tempfile.mkdtemp(dir=self._folder.parent)
        try:
            with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
                tar.extractall(taken, filter="data")
            os.rename(taken, self._folder)  # noqa: PTH104  -- whole or not at all; of several ranks of a node the first one
        except tarfile.TarError as error:
            log.warning("%s is no archive any more, so the model is compiled again: %s", self._key, error)
        except OSError as error:
            if not self._folder.exists():  # no peer was quicker
                log.warning("what was compiled before could not be unpacked, so it is compiled again: %s", error)
        finally:
            shutil.rmtree(taken, ignore_errors=True)

    def _put(self, storage: Storage, files: frozenset[str]) -> None:
        archive = io.BytesIO()
        try:
            with tarfile.open(fileobj=archive, mode="w") as tar:
                for name in sorted(files):
                    tar.add(self._folder / name, arcname=name)
            if archive.tell() <= MAX_BYTES:
                storage.put(self._key, archive.getbuffer())
            self._kept = files
        except (
            OSError,
            StorageError,
        ) as error:  # inductor may take a lock file away meanwhile; the next save tries again
            log.warning("what was compiled could not be kept: %s", error)

    def _files(self) -> frozenset[str]:
        found = (Path(folder, name) for folder, _, names in os.walk(self._folder) for name in names)
        return frozenset(str(it.relative_to(self._folder)) for it in found if it.suffix not in {".lock", ".tmp"})
