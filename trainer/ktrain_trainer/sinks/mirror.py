"""A folder of files that grow, copied to object storage whenever somebody says that they have grown."""

import logging
import threading
from pathlib import Path
from typing import Final

from ktrain.errors import StorageError
from ktrain.storage import Storage

log = logging.getLogger("ktrain")

CLOSE_SECONDS: Final = 30.0


class Mirror:
    """Copies in a thread of its own; when told again while it copies, it copies once more, not twice."""

    def __init__(self, folder: Path, storage: Storage, prefix: str) -> None:
        self._folder = folder
        self._storage = storage
        self._prefix = prefix
        self._sizes: dict[Path, int] = {}
        self._told = threading.Event()
        self._is_closing = False
        self._has_complained = False
        self._thread = threading.Thread(target=self._serve, name="ktrain-mirror", daemon=True)
        self._thread.start()

    def sync(self) -> None:
        """Something has grown."""
        self._told.set()

    def close(self) -> None:
        """One last copy, waited for, but not for ever."""
        self._is_closing = True
        self._told.set()
        self._thread.join(CLOSE_SECONDS)

    def _serve(self) -> None:
        while True:
            self._told.wait()
            self._told.clear()
            is_last = self._is_closing  # read before the copy: what was written before close() is in it
            self._copy()
            if is_last:
                return

    def _copy(self) -> None:
        for path in sorted(path for path in self._folder.rglob("*") if path.is_file() and not path.is_symlink()):
            data = path.read_bytes()
            if self._sizes.get(path) == len(data):
                continue
            try:
                self._storage.put(f"{self._prefix}/{path.relative_to(self._folder).as_posix()}", data)
                self._sizes[path] = len(data)
            except StorageError as error:  # the next time it is copied again
                if not self._has_complained:
                    self._has_complained = True
                    log.warning("%s is not kept for now: %s", self._prefix, error)
