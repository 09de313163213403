"""What the ranks print: kept in files, forwarded line by line, the last lines at hand for the verdict."""

import shutil
import threading
from collections import deque
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, Final

from ktrain_launcher.lines import Lines

LAST_LINES: Final = 200
KEPT_EPOCHS: Final = 5
CHUNK: Final = 256 * 1024
POLL_SECONDS: Final = 0.05


@dataclass(slots=True)
class _Stream:
    """One file that a rank writes to and we read behind it."""

    rank: int
    file: BinaryIO
    sink: BinaryIO
    lines: Lines = field(default_factory=Lines)


class Logs:
    """Reads behind the ranks in a thread of its own: a slow reader of our output never slows a rank."""

    def __init__(self, folder: Path, *, out: BinaryIO, err: BinaryIO) -> None:
        self._folder = folder
        self._out, self._err = out, err
        self._streams: list[_Stream] = []
        self._last: dict[int, deque[str]] = {}
        self._count: dict[int, int] = {}
        self._prefixed = False
        self._lock = threading.Lock()  # taken for a whole pass, so that lines never mix
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name="logs", daemon=True)
        self._thread.start()

    def paths(self, epoch: str, rank: int) -> tuple[Path, Path]:
        """Where this rank's stdout and stderr go; the files exist afterwards."""
        folder = self._folder / epoch
        folder.mkdir(parents=True, exist_ok=True)
        paths = folder / f"rank{rank}.out", folder / f"rank{rank}.err"
        for path in paths:
            path.touch()
        return paths

    def follow(self, epoch: str, ranks: list[int], *, world_size: int) -> None:
        """Forwards these ranks from now on; what the last ones printed is finished first."""
        self.drain()
        with self._lock:
            self._prefixed = world_size > 1
            self._last = {rank: deque(maxlen=LAST_LINES) for rank in ranks}
            self._count = dict.fromkeys(ranks, 0)
            for rank in ranks:
                out, err = self.paths(epoch, rank)
                self._streams += [
                    _Stream(rank, out.open("rb"), self._out),
                    _Stream(rank, err.open("rb"), self._err),
                ]
        self._forget_old()

    def drain(self) -> None:
        """Forwards everything that has been printed, ends unfinished lines, and lets go of the files."""
        with self._lock:
            for stream in self._streams:
                while self._pump(stream):
                    pass
                self._emit(stream, stream.lines.end())
                stream.file.close()
            self._streams.clear()

    def last_lines(self, rank: int) -> list[str]:
        """The newest lines of both streams, oldest first."""
        with self._lock:
            for stream in self._streams:
                self._pump(stream)
            return list(self._last.get(rank, ()))

    def mark(self) -> dict[int, int]:
        """How many lines each rank has written."""
        with self._lock:
            for stream in self._streams:
                self._pump(stream)
            return dict(self._count)

    def since(self, mark: dict[int, int]) -> dict[int, list[str]]:
        """What each rank has written after `mark`, as far as it is among its last lines."""
        now = self.mark()
        with self._lock:
            new = {rank: count - mark.get(rank, 0) for rank, count in now.items()}
            return {rank: list(self._last[rank])[-count:] if count else [] for rank, count in new.items()}

    def close(self) -> None:
        """Forwards what is left and stops the thread."""
        self._ended.set()
        self._thread.join()
        self.drain()

    def _run(self) -> None:
        while not self._ended.wait(POLL_SECONDS):
            with self._lock:
                for stream in self._streams:
                    self._pump(stream)

    def _pump(self, stream: _Stream) -> bool:
        """Whether there was something to read."""
        chunk = stream.file.read(CHUNK)
        self._emit(stream, stream.lines.feed(chunk) if chunk else [])
        return bool(chunk)

    def _emit(self, stream: _Stream, lines: list[str]) -> None:
        if not lines:
            return
        self._last[stream.rank].extend(lines)
        self._count[stream.rank] += len(lines)
        prefix = f"[rank {stream.rank}] " if self._prefixed else ""
        try:
            stream.sink.write("".join(f"{prefix}{line}\n" for line in lines).encode())
            stream.sink.flush()
        except (OSError, ValueError):
            pass  # whoever read our output has gone; the files stay

    def _forget_old(self) -> None:
        epochs = sorted(path for path in self._folder.iterdir() if path.is_dir())
        for path in epochs[:-KEPT_EPOCHS]:
            shutil.rmtree(path, ignore_errors=True)
